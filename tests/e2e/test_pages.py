"""A page in the developer's browser reaches neither the key nor the machine, over real HTTP."""

import io
import json
import os
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from image_drop_local.emulator.stack import ACCESS_KEY, REGION, SECRET_KEY, Stack
from image_drop_local.simulator import Simulator
from tests.support.probe import Probe

ALLOWED = "http://localhost:3000"
OTHER = "https://attacker.example"
PAGES = [
    {"Origin": OTHER},
    {"Origin": "null"},
    {"Origin": ALLOWED},  # which may upload, and this is no upload
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Host": "attacker.example:4566"},  # DNS rebinding
]
API_KEY = "/image-drop/venice-api-key"


@pytest.fixture(scope="module")
def stack(venice: Simulator) -> Iterator[Stack]:
    """A stack whose owner has a key in the environment, and a page that may upload."""
    os.environ["VENICE_API_KEY"] = "a-secret"
    try:
        with Stack(
            venice_url=venice.url, venice_api_key="a-secret", concurrency=4, allow_origin=ALLOWED
        ) as stack:
            yield stack
    finally:
        del os.environ["VENICE_API_KEY"]


def call(
    stack: Stack, target: str, body: Mapping[str, object], path: str = "/", **page: str
) -> requests.Response:
    """A signed JSON request, as a page could make one: the credentials are no secret."""
    service = "ssm" if target.startswith("AmazonSSM") else "dynamodb"
    request = AWSRequest(
        "POST",
        stack.endpoint_url + path,
        {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"},
        json.dumps(body),
    )
    SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), service, REGION).add_auth(request)
    headers = dict(request.headers.items()) | page
    return requests.post(str(request.url), request.data, headers=headers)


def get_key(stack: Stack, path: str = "/", **page: str) -> requests.Response:
    body = {"Name": API_KEY, "WithDecryption": True}
    return call(stack, "AmazonSSM.GetParameter", body, path, **page)


def test_program_of_this_machine_is_answered(stack: Stack) -> None:
    answer = get_key(stack)
    assert answer.json()["Parameter"]["Value"] == "a-secret"
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_page_cannot_read_venice_key(stack: Stack, page: dict[str, str]) -> None:
    for path in ("/", f"/{stack.outputs['InputBucketName']}"):
        answer = get_key(stack, path, **page)
        assert answer.status_code == 403
        assert "a-secret" not in answer.text
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("page", PAGES, ids=str)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/2015-03-31/functions"),
        ("POST", "/_ministack/reset"),
        ("GET", "/_ministack/health"),
        ("GET", "/"),
        ("OPTIONS", "/"),
        ("GET", "/_aws/sqs/messages"),
    ],
)
def test_page_reaches_no_service_and_no_administration(
    stack: Stack, method: str, path: str, page: dict[str, str]
) -> None:
    answer = requests.request(method, stack.endpoint_url + path, headers=page, data=b"")
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Host" in answer.text or "Web pages" in answer.text


def test_page_opens_no_web_socket(stack: Stack) -> None:
    told = spoken(
        stack,
        "GET / HTTP/1.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Origin: {OTHER}",
    )
    assert told.startswith("HTTP/1.1 403")


def test_change_to_http_2_is_no_way_around(stack: Stack) -> None:
    told = spoken(
        stack,
        "GET /_ministack/health HTTP/1.1",
        "Upgrade: h2c",
        "Connection: Upgrade, HTTP2-Settings",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        f"Origin: {OTHER}",
    )
    assert "Web pages may not call this server" in told
    assert "healthy" not in told
    assert "services" not in told


def test_functions_have_no_venice_key_in_their_environment(stack: Stack) -> None:
    probe = Probe(stack, "UploadFunction")
    try:
        names = probe.ask(environment=True)
    finally:
        probe.delete()
    assert "STATE_TABLE" not in names  # the probe's own, not the template's
    assert "AWS_ENDPOINT_URL" in names
    assert "VENICE_API_KEY" not in names


@pytest.mark.parametrize("page", [{"Origin": OTHER}, {"Origin": "null"}], ids=str)
def test_pages_of_other_origins_may_not_upload(stack: Stack, page: dict[str, str]) -> None:
    assert posted(stack, "stranger.jpg", page).status_code == 403
    preflight = asked(stack, f"/{stack.outputs['InputBucketName']}", "POST", page["Origin"])
    assert preflight.status_code == 403
    assert "Access-Control-Allow-Origin" not in preflight.headers


def test_page_of_allowed_origin_uploads_by_presigned_post(stack: Stack) -> None:
    bucket = stack.outputs["InputBucketName"]
    page = {"Origin": ALLOWED, "Sec-Fetch-Site": "cross-site"}
    preflight = asked(stack, f"/{bucket}", "POST", ALLOWED, "content-type")
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == ALLOWED
    answer = posted(stack, "posted.jpg", page)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED
    head = stack.client("s3").head_object(Bucket=bucket, Key="posted.jpg")
    assert head["Metadata"] == {"mode": "background-remove"}


def test_page_of_allowed_origin_uploads_by_presigned_put(stack: Stack) -> None:
    bucket = stack.outputs["InputBucketName"]
    url = stack.client("s3").generate_presigned_url(
        "put_object", Params={"Bucket": bucket, "Key": "put.jpg", "Tagging": "mode=edit"}
    )
    path = urlsplit(url).path
    preflight = asked(stack, path, "PUT", ALLOWED, "x-amz-tagging")
    assert preflight.headers["Access-Control-Allow-Headers"] == "x-amz-tagging"
    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    answer = requests.put(url, b"-", headers={"Origin": ALLOWED, "X-Amz-Tagging": "mode=edit"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED


def test_allowed_origin_reaches_nothing_else(stack: Stack) -> None:
    names, s3 = stack.outputs, stack.client("s3")
    s3.put_object(Bucket=names["OutputBucketName"], Key="result.png", Body=b"private")
    for operation, bucket, key in [
        ("get_object", names["InputBucketName"], "posted.jpg"),
        ("delete_object", names["InputBucketName"], "posted.jpg"),
        ("get_object", names["OutputBucketName"], "result.png"),
        ("put_object", names["OutputBucketName"], "result.png"),
    ]:
        url = s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key})
        method = operation.partition("_")[0].upper()
        answer = requests.request(method, url, headers={"Origin": ALLOWED})
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_what_would_choose_another_service_is_taken_from_upload(stack: Stack) -> None:
    """`X-Amz-Target` and the like would make the emulator read a form as a request to SSM."""
    target = {"Origin": ALLOWED, "X-Amz-Target": "AmazonSSM.GetParameter"}
    assert posted(stack, "form.jpg", target).status_code == 204
    form = {"Origin": ALLOWED, "Content-Type": "application/x-www-form-urlencoded"}
    assert requests.put(own_url(stack), b"Action=ListUsers", headers=form).status_code == 403
    copied = {"X-Amz-Copy-Source": f"/{stack.outputs['OutputBucketName']}/result.png"}
    page = {"Origin": ALLOWED} | copied
    assert requests.put(own_url(stack), b"own", headers=page).status_code == 200
    assert stored(stack, "own.jpg") == b"own"


def own_url(stack: Stack) -> str:
    """Where a page may put `own.jpg`."""
    place = {"Bucket": stack.outputs["InputBucketName"], "Key": "own.jpg"}
    return str(stack.client("s3").generate_presigned_url("put_object", Params=place))


def stored(stack: Stack, key: str) -> bytes:
    bucket = stack.outputs["InputBucketName"]
    return bytes(stack.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def posted(stack: Stack, key: str, headers: Mapping[str, str]) -> requests.Response:
    """An upload by a presigned form."""
    fields = {"x-amz-meta-mode": "background-remove"}
    form = stack.client("s3").generate_presigned_post(
        stack.outputs["InputBucketName"], key, Fields=fields, Conditions=[fields]
    )
    file = {"file": io.BytesIO(b"not an image")}
    return requests.post(form["url"], form["fields"], files=file, headers=headers)


def asked(
    stack: Stack, path: str, method: str, origin: str, headers: str = ""
) -> requests.Response:
    """A browser's question before a request of a page."""
    return requests.options(
        stack.endpoint_url + path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )


def spoken(stack: Stack, line: str, *headers: str) -> str:
    """What comes back for the bytes of a request, up to its end or for two seconds."""
    place = urlsplit(stack.endpoint_url)
    request = "\r\n".join([line, f"Host: {place.netloc}", *headers, "", ""])
    with socket.create_connection((place.hostname, place.port), timeout=2) as connection:
        connection.sendall(request.encode())
        told = b""
        try:
            while part := connection.recv(65536):
                told += part
        except TimeoutError:
            pass
    return told.decode("latin-1")
