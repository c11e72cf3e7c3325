"""The keys of a bucket in their order, page by page; results in step with their images."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAGE = 1000  # keys; S3's limit for a request
AHEAD = 10_000  # keys of the output listing that are kept beyond the current page


class Listed(NamedTuple):
    """A key in a listing, and when the object's upload began."""

    key: str
    changed_at: datetime
    etag: str = ""


@dataclass(frozen=True)
class Listing:
    """The keys of a bucket below a prefix, in S3's order, which is by Unicode code point.

    `root`: the bucket's own prefix, to which the keys and `prefix` are relative.
    """

    s3: "S3Client"
    bucket: str
    prefix: str
    root: str = ""
    size: int = PAGE

    def after(self, key: str) -> tuple[list[Listed], bool]:
        """Return one page of the keys after `key`, and whether there are more."""
        start: dict[str, Any] = {"StartAfter": self.root + key} if key else {}
        answer = self.s3.list_objects_v2(
            Bucket=self.bucket, Prefix=self.root + self.prefix, MaxKeys=self.size, **start
        )
        page = [
            Listed(
                each["Key"].removeprefix(self.root),
                each["LastModified"],
                each.get("ETag", "").strip('"'),
            )
            for each in answer.get("Contents", ())
        ]
        return page, answer["IsTruncated"]


@dataclass
class Outputs:
    """The output bucket, listed in step with the input bucket, and only where needed.

    A result's key begins with its image's key and so comes after it, but results are not in the
    order of their images: of `a` and `a.b`, `a.b.png` comes before `a.png`. So keys beyond the
    current page are kept for the next pages, and keys too far ahead are not looked for.
    """

    listing: Listing
    ahead: list[Listed] = field(default_factory=list)
    position: str = ""  # listed up to here, apart from gaps without a wanted key
    more: bool = True

    def find_results(self, wanted: Mapping[str, Iterable[str]], end: str) -> dict[str, datetime]:
        """Return the result keys that exist, and since when. `wanted`: result keys by image key.

        `end`: later calls ask for no image up to this key. A result that is not found may still
        exist, more than `AHEAD` keys ahead.
        """
        image_of = {key: image for image, keys in wanted.items() for key in keys}
        order = sorted(image_of)
        found = {each.key: each.changed_at for each in self.ahead if each.key in image_of}
        self.ahead = [each for each in self.ahead if each.key > end]
        while self.more and len(self.ahead) < AHEAD:
            next_one = bisect_right(order, self.position)
            if next_one == len(order):
                break
            # Skip foreign objects between the last result and the next image.
            page, self.more = self.listing.after(max(self.position, image_of[order[next_one]]))
            found |= {each.key: each.changed_at for each in page if each.key in image_of}
            self.ahead += [each for each in page if each.key > end]
            self.position = page[-1].key if page else order[-1]
        return found
