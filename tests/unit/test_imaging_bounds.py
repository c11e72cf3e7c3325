"""Whatever a file does, preparing it stays within the memory and the time that it may take."""

import io
import json
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from image_drop.errors import DamagedImageError, ImageError, TooLargeError
from image_drop.imaging import conversion, photos
from image_drop.imaging.headers import is_srgb, read_header, read_orientation
from image_drop.imaging.metadata import without_metadata
from tests.support import pictures

pytestmark = pytest.mark.slow

MB = 1_000_000

MEASURE = """
import json, resource, sys
from image_drop import errors
from image_drop.imaging import photos
data = open(sys.argv[1], "rb").read()
try:
    photo = photos.prepare_photo(data, limits=photos.Limits(int(sys.argv[2]), 60))
    outcome = f"{photo.width}x{photo.height}"
except errors.ImageError as error:
    outcome = type(error).__name__
own, child = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
cpu = sum(usage.ru_utime + usage.ru_stime for usage in (own, child))
print(json.dumps([outcome, (own.ru_maxrss + child.ru_maxrss) * 1024, cpu]))
"""


@dataclass(frozen=True)
class Measured:
    outcome: str
    peak: int  # bytes, of both processes together
    cpu: float  # seconds


def measured(folder: Path, data: bytes, seconds: int = 10) -> Measured:
    """Prepare `data` in fresh processes."""
    path = folder / "file"
    path.write_bytes(data)
    return Measured(*json.loads(in_small_processes(MEASURE, path, seconds)))


def in_small_processes(code: str, *arguments: object) -> bytes:
    """What `code` prints. A shell stands between: the ru_maxrss of a process that pytest started
    itself would begin with the peak of pytest.
    """
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", code, *map(str, arguments)],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        check=True,
    )
    return done.stdout


def big_jpeg(width: int, height: int, **options: object) -> bytes:
    picture = pictures.quadrants(width // 8, height // 8)
    picture = Image.blend(picture, Image.effect_noise(picture.size, 60).convert("RGB"), 0.2)
    return pictures.save(picture.resize((width, height)), "JPEG", quality=88, **options)


# --- large photos ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_photo(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """What a photo of 60 megapixels takes on this machine, in this minute."""
    return measured(tmp_path_factory.mktemp("large"), big_jpeg(9504, 6336))


def test_60_megapixel_jpeg_takes_700_mb_at_most(large_photo: Measured) -> None:
    assert large_photo.outcome == "7054x4703"
    assert large_photo.peak <= 700 * MB


def test_200_megapixel_jpeg_is_decoded_at_half_its_size(tmp_path: Path) -> None:
    result = measured(tmp_path, pictures.save(Image.new("L", (16_320, 12_240), 90), "JPEG"))

    assert result.outcome == "6651x4988"
    assert result.peak <= 700 * MB


def test_large_progressive_jpeg_is_decoded_smaller_not_refused(tmp_path: Path) -> None:
    data = big_jpeg(9504, 6336, progressive=True, subsampling=0)
    result = measured(tmp_path, data)

    assert result.outcome == "4752x3168"  # half: its coefficients alone take 361 MB
    assert result.peak <= 700 * MB


# --- files made to hurt ------------------------------------------------------------------------


def png_that_claims(width: int, height: int) -> bytes:
    return pictures.png(width, height, 8, 6, b"\0" * 1000)


def jpeg_that_claims(width: int, height: int) -> bytes:
    data = bytearray(pictures.save(pictures.quadrants(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def png_with_a_bomb_as_profile() -> bytes:
    body = b"name\0\0" + zlib.compress(b"\0" * 300 * MB, 1)
    return pictures.with_chunk(
        pictures.save(pictures.quadrants().quantize(8), "PNG"), b"iCCP", body
    )


def png_full_of_profiles() -> bytes:
    data = pictures.save(pictures.quadrants(), "PNG")
    bomb = pictures.chunk(b"iCCP", b"name\0\0" + zlib.compress(b"\0" * 4 * MB, 9))
    return data[:33] + bomb * (25 * MB // len(bomb)) + data[33:]


def png_full_of_exif() -> bytes:
    data = pictures.save(pictures.quadrants(), "PNG")
    entries = b"II*\0\x08\0\0\0\xff\xff" + bytes(12 * 65_535)
    return data[:33] + pictures.chunk(b"eXIf", entries) * 30 + data[33:]


def jpeg_full_of_profiles() -> bytes:
    data = pictures.save(pictures.quadrants(), "JPEG")
    part = b"\xff\xe2\0\x12ICC_PROFILE\0\x01\x01xx"
    return data[:2] + part * 190_000 + data[2:]


def webp_full_of_exif() -> bytes:
    data = pictures.save(pictures.quadrants(), "WEBP")
    data += (b"EXIF" + struct.pack("<I", 130) + b"II*\0\x08\0\0\0\xff\xff" + bytes(120)) * 190_000
    return b"RIFF" + struct.pack("<I", len(data) - 8) + data[8:]


def png_with_bombs_as_text() -> bytes:
    data = pictures.save(pictures.quadrants().quantize(8), "PNG")
    body = b"name\0\0" + zlib.compress(b"x" * 50 * MB, 1)
    return data[:33] + pictures.chunk(b"zTXt", body) * 40 + data[33:]


def tiff(entries: list[tuple[int, int, int, int]], body: bytes = b"") -> bytes:
    """Little-endian; entries are tag, type, count, value or offset."""
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8) + directory + b"\0" * 4 + body


def tiff_whose_tags_all_claim_the_same_megabytes() -> bytes:
    shape = [(256, 4, 1, 300), (257, 4, 1, 300), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)]
    shape += [(277, 3, 1, 1), (278, 4, 1, 300), (279, 4, 1, 90_000)]
    deep = [(40_000 + i, 1, 8 * MB, 8) for i in range(2000)]
    return tiff(shape + deep, b"\0" * 9 * MB)


def tiff_with_one_tile_of_gigabytes() -> bytes:
    body = zlib.compress(b"\0" * 64 * MB, 9) * 20
    shape = [(256, 4, 1, 300), (257, 4, 1, 300), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    shape += [(277, 3, 1, 1), (322, 4, 1, 48_000), (323, 4, 1, 48_000)]
    return tiff([*shape, (324, 4, 1, 8 + 2 + 12 * 10 + 4), (325, 4, 1, len(body))], body)


def exif_whose_tags_all_claim_the_same_kilobytes() -> bytes:
    entries = [(i, 1, 60_000, 8) for i in range(1000, 6000)]
    block = b"Exif\0\0" + tiff(entries)[:65_000]
    data = pictures.save(pictures.quadrants().convert("CMYK"), "JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def gif_with_a_long_comment() -> bytes:
    data = pictures.save(pictures.quadrants().quantize(8), "GIF")
    start = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    comment = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 120_000 + b"\0"
    return data[:start] + comment + data[start:]


def gif_that_claims(width: int, height: int) -> bytes:
    data = pictures.save(pictures.quadrants().quantize(8), "GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def gif_of_many_frames() -> bytes:
    data = pictures.save(pictures.quadrants().quantize(8), "GIF")
    start = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:start] + data[start:-1] * 20_000 + b";"


def webp_that_claims(width: int, height: int) -> bytes:
    data = bytearray(pictures.save(pictures.quadrants(), "WEBP", exif=pictures.exif(1)))
    data[24:30] = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    data[20] |= 2  # animated
    return bytes(data)


def progressive_jpeg_of_many_scans() -> bytes:
    data = pictures.save(
        Image.new("L", (5800, 5700), 9), "JPEG", progressive=True, exif=pictures.exif(6)
    )
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 3000 + b"\xff\xd9"


def run_length_bmp_of_single_pixels() -> bytes:
    pixels = b"\x01\x07" * 18 * MB
    header = struct.pack("<IiiHHIIiiII", 40, 6000, 3000, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + header + b"\0" * 1024 + pixels


REFUSED = (TooLargeError.__name__, DamagedImageError.__name__)


@pytest.mark.parametrize(
    "make",
    [
        lambda: png_that_claims(100_000, 100_000),
        lambda: png_that_claims(2**31 - 1, 2**31 - 1),
        lambda: jpeg_that_claims(65_500, 65_500),
        lambda: gif_that_claims(65_535, 65_535),
        lambda: webp_that_claims(16_384, 16_384),
        tiff_with_one_tile_of_gigabytes,
        progressive_jpeg_of_many_scans,
        run_length_bmp_of_single_pixels,
    ],
    ids=[
        "PNG of 10 gigapixels",
        "PNG of exapixels",
        "JPEG of 4 gigapixels",
        "GIF of 4 gigapixels",
        "animated WebP of 268 megapixels",
        "TIFF with a tile of 2 GB",
        "JPEG of 3,000 scans",
        "BMP of 18 million runs",
    ],
)
def test_hostile_file_is_refused_within_memory_and_time(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    data = make()
    result = measured(tmp_path, data, seconds=2)

    assert result.outcome in REFUSED
    assert result.peak <= 700 * MB + len(data)
    assert result.cpu <= 2 + 2  # and the start of two interpreters, on a slow machine


@pytest.mark.parametrize(
    "make",
    [
        png_with_a_bomb_as_profile,
        png_full_of_profiles,
        png_full_of_exif,
        jpeg_full_of_profiles,
        webp_full_of_exif,
        png_with_bombs_as_text,
        exif_whose_tags_all_claim_the_same_kilobytes,
        tiff_whose_tags_all_claim_the_same_megabytes,
        gif_with_a_long_comment,
        gif_of_many_frames,
    ],
    ids=[
        "300 MB profile",
        "25 MB of profiles",
        "24 MB of EXIF",
        "190,000 parts of a profile",
        "190,000 chunks of EXIF",
        "2 GB of text",
        "300 MB of EXIF",
        "16 GB of TIFF tags",
        "30 MB of comment",
        "20,000 frames",
    ],
)
def test_excess_around_good_picture_costs_less_than_large_photo(
    make: Callable[[], bytes], large_photo: Measured, tmp_path: Path
) -> None:
    data = make()
    result = measured(tmp_path, data)

    assert result.outcome in ("320x240", "300x300", *REFUSED)
    assert result.peak <= 700 * MB + len(data)
    assert result.cpu <= large_photo.cpu


def test_endless_segments_and_chunks_are_refused_quickly() -> None:
    jpeg = b"\xff\xd8" + b"\xff\xe5\0\x02" * 300_000
    empty = pictures.chunk(b"teSt", b"")
    png = pictures.save(pictures.quadrants(), "PNG")
    for data in (jpeg, png[:33] + empty * 300_000 + png[33:]):
        with pytest.raises(DamagedImageError, match="200,000"):
            photos.prepare_photo(data)


def test_refusal_names_limit_and_figures_of_file() -> None:
    with pytest.raises(
        TooLargeError, match=r"100,000 × 90,000 = 9,000,000,000 pixels\. The limit for a PNG"
    ):
        photos.prepare_photo(png_that_claims(100_000, 90_000))


def test_conversion_that_takes_too_long_says_so() -> None:
    with pytest.raises(TooLargeError, match="more than 1 seconds of CPU"):
        photos.prepare_photo(progressive_jpeg_of_many_scans(), limits=photos.Limits(1, 60))


def test_conversion_that_lasts_too_long_by_clock_is_ended() -> None:
    begun = time.monotonic()
    with pytest.raises(TooLargeError, match=r"takes longer than 0\.5 seconds"):
        photos.prepare_photo(progressive_jpeg_of_many_scans(), limits=photos.Limits(20, 0.5))
    assert time.monotonic() - begun < 5


# --- what a decoder that was taken over can do ---------------------------------------------------

TAKEN_OVER = """
import _socket, io, json, os, sys, tempfile
from image_drop.imaging import conversion
log = tempfile.TemporaryFile(buffering=0)
target = io.BytesIO()
conversion.main("prepare", 20, open(sys.argv[1], "rb"), target)
def tried(act):
    try:
        act()
    except OSError as error:
        return error.strerror
    return "done"
acts = {
    "read the parent's environment": lambda: open(f"/proc/{os.getppid()}/environ"),
    "read any file": lambda: open("/etc/hostname"),
    "create a file": lambda: open("/tmp/image-drop-stolen", "w"),
    "write to an open file": lambda: log.write(b"x"),
    "connect": lambda: _socket.socket(),
}
print(json.dumps([json.loads(target.getvalue().partition(b"\\n")[0]).get("error"), {
    name: tried(act) for name, act in acts.items()
}]))
"""


def test_converting_process_can_open_and_write_no_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(pictures.convertible()["heic"])

    error, found = json.loads(in_small_processes(TAKEN_OVER, path))

    assert error is None
    assert found == {
        "read the parent's environment": "Too many open files",
        "read any file": "Too many open files",
        "create a file": "Too many open files",
        "write to an open file": "File too large",
        "connect": "Too many open files",
    }


EVERY_FILE = """
import io, json, os, sys
from pathlib import Path
from image_drop.imaging import conversion
for task in ("prepare", "prepare-any-size", "to-png"):
    for path in sorted(Path(sys.argv[1]).iterdir()):
        source, target = path.open("rb"), io.BytesIO()
        if os.fork() == 0:
            conversion.main(task, 20, source, target)
            os.write(1, path.name.encode() + b" " + target.getvalue().partition(b"\\n")[0] + b"\\n")
            os._exit(0)
        os.wait()
"""


def test_closed_file_system_keeps_no_format_from_being_converted(tmp_path: Path) -> None:
    files = {**pictures.untouched(), **pictures.convertible(), "16 bit": pictures.deep_png(6)}
    files["multi-picture"] = pictures.save(
        pictures.lying_down(6), "MPO", save_all=True, append_images=[pictures.quadrants()],
        exif=pictures.exif(6),
    )  # fmt: skip
    files["transparent gif"] = pictures.save(
        pictures.quadrants().quantize(4), "GIF", transparency=0
    )
    for name in ("TIFF", "HEIF", "AVIF", "WEBP", "PNG"):
        profile = pictures.rgb_profile(pictures.DISPLAY_P3)
        files[f"{name} in P3"] = pictures.save(pictures.quadrants(), name, icc_profile=profile)
    for name, data in files.items():
        (tmp_path / name.replace(" ", "-").replace(":", "")).write_bytes(data)

    lines = in_small_processes(EVERY_FILE, tmp_path).decode().splitlines()

    assert len(lines) == 3 * len(files)
    assert not [line for line in lines if "error" in line]


# --- files that are broken in any way ----------------------------------------------------------

SEEDS = {**pictures.untouched(), **pictures.convertible(), "16 bit": pictures.deep_png(6)}


type Edit = tuple[str, int, int, int]  # what, where, and two numbers that say how


@dataclass(frozen=True)
class BrokenFile:
    """A seed and what was done to it, so that a failing test prints these and no bytes."""

    seed: str
    edits: tuple[Edit, ...]

    @property
    def data(self) -> bytes:
        data = bytearray(SEEDS[self.seed])
        for edit in self.edits:
            _break(data, *edit)
        return bytes(data)


LIES = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 30_000)


def _break(data: bytearray, what: str, place: int, size: int, other: int) -> None:
    match what:
        case "flip":
            data[place : place + 1] = bytes(
                byte ^ 1 << size % 8 for byte in data[place : place + 1]
            )
        case "number":
            width, order = (2, 4)[size % 2], "big" if size % 4 < 2 else "little"
            lie = LIES[other % len(LIES)] % 256**width
            data[place : place + width] = lie.to_bytes(width, order)
        case "swap":
            a, b = data[place : place + size], data[other : other + size]
            data[place : place + size], data[other : other + size] = b, a
        case "cut" if place > 32:
            del data[place:]
        case "remove":
            del data[place : place + size]
        case "repeat":
            data[place:place] = data[place : place + size] * 3


@st.composite
def broken_files(draw: st.DrawFn, seeds: tuple[str, ...] = tuple(sorted(SEEDS))) -> BrokenFile:
    seed = draw(st.sampled_from(seeds))
    early = st.integers(0, 400)
    edit = st.tuples(
        st.sampled_from(["flip", "number", "swap", "cut", "remove", "repeat"]),
        early | st.integers(0, len(SEEDS[seed]) - 1),
        st.integers(1, 64),
        early,
    )
    return BrokenFile(seed, tuple(draw(st.lists(edit, min_size=1, max_size=4))))


def checked_checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right again, so that the lie behind them is reached."""
    target, position = bytearray(data), 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        end = position + 8 + length
        if end + 4 > len(data):
            break
        target[end : end + 4] = zlib.crc32(target[position + 4 : end]).to_bytes(4)
        position = end + 4
    return bytes(target)


def assert_result_or_our_error(prepare: Callable[[bytes], photos.Photo], data: bytes) -> None:
    try:
        photo = prepare(data)
    except ImageError:
        return
    with Image.open(io.BytesIO(photo.data)) as image:
        assert image.size == (photo.width, photo.height)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(broken_files())
def test_broken_file_ends_in_result_or_one_of_our_errors(broken: BrokenFile) -> None:
    data = broken.data
    assert_result_or_our_error(conversion.to_photo, data)
    if photos.media_type_of(data) == "image/png":
        assert_result_or_our_error(conversion.to_photo, checked_checksums(data))


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(broken_files(tuple(sorted({**pictures.untouched(), "16 bit": b""}))))
def test_metadata_of_broken_file_is_removed_or_refused(broken: BrokenFile) -> None:
    for data in (broken.data, checked_checksums(broken.data)):
        try:
            header = read_header(data)
            if header is None:
                continue
            bare = without_metadata(data, header.media_type)
            again = read_header(bare)
        except ImageError:
            continue
        assert again is not None
        assert (again.width, again.height) == (header.width, header.height)
        assert len(bare) <= header.end <= len(data)
        assert without_metadata(bare, header.media_type) is bare


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(broken_files())
def test_broken_file_does_not_break_process_that_called(broken: BrokenFile) -> None:
    for prepare in (photos.prepare_photo, lambda data: photos.to_png(data)):
        try:
            photo = prepare(broken.data)
        except ImageError:
            continue
        assert isinstance(photo, bytes) or photo.width * photo.height <= photos.MAX_PIXELS


def test_jpeg_without_components_is_damaged_not_surprise() -> None:
    data = bytearray(pictures.save(pictures.quadrants(), "JPEG", progressive=True))
    data[data.index(b"\xff\xc2") + 9] = 0
    for read in (photos.prepare_photo, photos.to_png):
        with pytest.raises(DamagedImageError):
            read(bytes(data))


@given(st.binary(max_size=200))
def test_metadata_readers_take_any_bytes(data: bytes) -> None:
    assert 1 <= read_orientation(b"Exif\0\0" + data) <= 8
    assert is_srgb(data) in (True, False)
    for space in (b"RGB ", b"GRAY"):
        assert is_srgb(b"\0" * 16 + space + b"\0" * 108 + data) in (True, False)


# --- after the edit ----------------------------------------------------------------------------

FINISH = """
import io, json, resource, sys
from PIL import Image
from image_drop.imaging.canvas import render
from image_drop.instructions.finish import Finish
finish = Finish.parse({"trim": True, "size": "4000x4000", "shadow": True, "format": sys.argv[2]})
result = render(finish, open(sys.argv[1], "rb").read()).data
width = Image.open(io.BytesIO(result)).width
print(json.dumps([width, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def test_largest_finish_stays_within_functions_memory(tmp_path: Path) -> None:
    image = pictures.quadrants(4096, 4096)
    image.putalpha(Image.radial_gradient("L").resize(image.size).point(lambda v: 255 * (v < 99)))
    path = tmp_path / "edit.png"
    image.save(path, compress_level=1)

    width, peak = json.loads(in_small_processes(FINISH, path, "webp"))

    assert width == 4000
    assert peak <= 700 * MB
