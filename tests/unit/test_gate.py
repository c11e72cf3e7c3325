"""What a page of the allowed origin may ask of the emulator: to upload, and nothing else."""

import pytest

from image_drop_local.emulator.gate import Page

PAGE = Page("http://localhost:3000", "photos")
HOST = ("host", "localhost:4566")
FORM = ("content-type", "multipart/form-data; boundary=x")
SCOPE = "AKIA%2F20261124%2Fus-east-1%2F{}%2Faws4_request"
UNSIGNED = "&".join(
    f"X-Amz-{name}=x" for name in ("Algorithm", "Date", "Expires", "SignedHeaders", "Signature")
)
SIGNED = f"{UNSIGNED}&X-Amz-Credential={SCOPE.format('s3')}"


def test_form_to_bucket_is_upload() -> None:
    assert PAGE.may("POST", "/photos", "", [HOST, FORM])
    assert PAGE.may("POST", "/photos/", "", [HOST, FORM])


@pytest.mark.parametrize(
    "query",
    [
        SIGNED,
        f"{SIGNED}&x-id=PutObject&x-amz-checksum-crc32=AAAA",
        "AWSAccessKeyId=a&Signature=b&Expires=1&x-amz-tagging=mode%3Dedit&content-type=image%2Fpng",
    ],
)
def test_presigned_object_is_upload(query: str) -> None:
    for kind in ("image/jpeg", "application/json", "application/json; charset=utf-8"):
        assert PAGE.may("PUT", "/photos/a/shoe.jpg", query, [HOST, ("content-type", kind)])
    assert PAGE.may("PUT", "/photos/a/shoe.jpg", query, [HOST])


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_preflight_before_upload_is_answered(method: str) -> None:
    path = "/photos" if method == "POST" else "/photos/shoe.jpg"
    assert PAGE.may("OPTIONS", path, "", [HOST, ("access-control-request-method", method)])
    answer = dict(
        PAGE.preflight([("access-control-request-headers", "Content-Type,x-amz-target, x-foo")])
    )
    assert answer["access-control-allow-origin"] == "http://localhost:3000"
    assert answer["access-control-allow-headers"] == "content-type"


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/photos/shoe.jpg", SIGNED),
        ("HEAD", "/photos/shoe.jpg", SIGNED),
        ("DELETE", "/photos/shoe.jpg", SIGNED),
        ("PUT", "/photos", ""),  # a new bucket
        ("PUT", "/photos/", ""),
        ("PUT", "/photos//", ""),
        ("PUT", "/photos", "policy"),
        ("PUT", "/photos/shoe.jpg", "acl"),
        ("PUT", "/photos/shoe.jpg", f"{UNSIGNED}&X-Amz-Credential={SCOPE.format('ssm')}"),
        ("PUT", "/photos/shoe.jpg", f"{SIGNED}&tagging"),
        ("PUT", "/photos/shoe.jpg", f"{SIGNED}&x-amz-copy-source=/results/shoe.png"),
        ("PUT", "/photos/shoe.jpg", "Action=ListUsers"),
        ("PUT", "/results/shoe.png", SIGNED),
        ("PUT", "/photos2/shoe.jpg", SIGNED),
        ("PUT", "//photos/shoe.jpg", SIGNED),
        ("POST", "/photos", "delete"),
        ("POST", "/photos/shoe.jpg", ""),
        ("POST", "/", ""),
        ("POST", "/_ministack/reset", ""),
    ],
)
def test_nothing_else_counts_as_upload(method: str, path: str, query: str) -> None:
    kind = FORM if method == "POST" else ("content-type", "image/jpeg")
    assert not PAGE.may(method, path, query, [HOST, kind])


def test_body_that_emulator_would_take_for_request_is_no_upload() -> None:
    for kind in (
        "application/x-amz-json-1.1",
        "application/x-www-form-urlencoded",
        "image/jpeg, application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x, application/x-www-form-urlencoded",
    ):
        headers = [HOST, ("content-type", kind)]
        assert not PAGE.may("POST", "/photos", "", headers)
        assert not PAGE.may("PUT", "/photos/shoe.jpg", SIGNED, headers)
    assert not PAGE.may("POST", "/photos", "", [HOST])


def test_host_that_chooses_service_is_no_upload() -> None:
    for host in ("abc.lambda-url.us-east-1.localhost:4566", "results.localhost"):
        assert not PAGE.may("POST", "/photos", "", [("host", host), FORM])


@pytest.mark.parametrize(
    "origin", ["*", "null", "localhost:3000", "http://localhost:3000/", "http://a b", "file://x"]
)
def test_what_is_no_origin_is_refused_at_start(origin: str) -> None:
    with pytest.raises(ValueError, match=r"ALLOW_ORIGIN=.* is not an origin"):
        Page(origin, "photos")
