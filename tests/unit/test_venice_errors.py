"""What each error answer of Venice means: for the image, for the account, and for the money."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from image_drop.errors import (
    AccountError,
    Charge,
    ContentRefusedError,
    ImageDropError,
    LockedOutError,
    MediaNotFoundError,
    ModelNotFoundError,
    NoAnswerError,
    RateLimitedError,
    RefusedError,
    VeniceUnavailableError,
)
from image_drop.instructions.schema import Mode
from image_drop.quota import Quota
from image_drop.venice import http_errors
from image_drop.venice.exchange import Reply
from image_drop.venice.http_errors import error_for

NOW = 1_800_000_000.0
KEY = "VENICE_INFERENCE_KEY_0aB1-cD2eF3_gH4iJ5kL6mN7oP8qR9sT0uV1w"
ENDPOINTS = (*Mode, None)


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, CaseInsensitiveDict(named), content)


def error(
    status: int, body: Any = b"", mode: Mode | None = Mode.EDIT, **headers: str
) -> ImageDropError:
    return error_for(reply(status, body, **headers), mode, NOW, KEY)


# --- by status and endpoint --------------------------------------------------------------------

# The class on edit and multi-edit, on background-remove and upscale, and on the free pages.
DOCUMENTED: dict[int, tuple[type[ImageDropError], type[ImageDropError], type[ImageDropError]]] = {
    400: (RefusedError, RefusedError, VeniceUnavailableError),
    401: (AccountError, AccountError, AccountError),
    402: (AccountError, AccountError, AccountError),
    403: (AccountError, AccountError, AccountError),
    404: (MediaNotFoundError, RefusedError, VeniceUnavailableError),
    408: (NoAnswerError, NoAnswerError, NoAnswerError),
    410: (ModelNotFoundError, ModelNotFoundError, VeniceUnavailableError),
    413: (RefusedError, RefusedError, VeniceUnavailableError),
    415: (RefusedError, RefusedError, VeniceUnavailableError),
    422: (ContentRefusedError, RefusedError, VeniceUnavailableError),
    429: (RateLimitedError, RateLimitedError, RateLimitedError),
    500: (VeniceUnavailableError, VeniceUnavailableError, VeniceUnavailableError),
    502: (VeniceUnavailableError, VeniceUnavailableError, VeniceUnavailableError),
    503: (VeniceUnavailableError, VeniceUnavailableError, VeniceUnavailableError),
    504: (NoAnswerError, NoAnswerError, NoAnswerError),
    520: (NoAnswerError, NoAnswerError, NoAnswerError),
    524: (NoAnswerError, NoAnswerError, NoAnswerError),
}
MAYBE_CHARGED = {(status, mode) for status in (408, 504, 520, 524) for mode in Mode} | {
    (422, Mode.EDIT),
    (422, Mode.MULTI_EDIT),
}
KINDS = {Mode.EDIT: 0, Mode.MULTI_EDIT: 0, Mode.BACKGROUND_REMOVE: 1, Mode.UPSCALE: 1, None: 2}


@pytest.mark.parametrize("mode", ENDPOINTS)
@pytest.mark.parametrize("status", DOCUMENTED)
def test_every_documented_status_has_class_and_charge(status: int, mode: Mode | None) -> None:
    found = error(status, {"error": "in words"}, mode, CF_RAY="8f2a-FRA")

    assert type(found) is DOCUMENTED[status][KINDS[mode]]
    assert found.charge is (Charge.MAYBE if (status, mode) in MAYBE_CHARGED else Charge.NO)
    assert (found.status, found.request_id) == (status, "8f2a-FRA")
    assert found.detail == f"Venice answered {status}: in words"


@pytest.mark.parametrize("status", [501, 505, 521, 522, 523, 525, 526, 529, 599])
def test_any_other_fault_of_servers_is_retried_and_not_charged(status: int) -> None:
    assert type(error(status)) is VeniceUnavailableError
    assert error(status).charge is Charge.NO


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 405, 409, 418, 451])
def test_undocumented_answer_is_not_retried(
    status: int,
) -> None:
    assert type(error(status)) is RefusedError
    assert error(status).charge is (Charge.MAYBE if status < 300 else Charge.NO)


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (422, {"error": "no", "code": "CONTENT_POLICY_VIOLATION"}, {}, ContentRefusedError),
        (400, {"error": {"code": "CONTENT_POLICY_VIOLATION"}}, {}, ContentRefusedError),
        (400, {}, {"x_venice_is_content_violation": "true"}, ContentRefusedError),
        (422, {"error": "Your prompt violates the content policy"}, {}, ContentRefusedError),
        (422, {"error": "no", "code": "IMAGE_TOO_LARGE"}, {}, RefusedError),
        (400, {"error": "Your prompt violates the content policy"}, {}, RefusedError),
        (400, {"error": "Invalid model id"}, {}, RefusedError),
        (429, {"error": "Too many failed attempts (> 20) resulting in ..."}, {}, LockedOutError),
        (429, {"error": {"message": "TOO MANY FAILED ATTEMPTS"}}, {}, LockedOutError),
        (429, {"error": "Rate limit exceeded"}, {}, RateLimitedError),
        (503, {"error": "Too many failed attempts"}, {}, VeniceUnavailableError),
    ],
)
def test_refusals_are_told_apart(
    status: int, body: Any, headers: dict[str, str], expected: type[ImageDropError]
) -> None:
    assert type(error(status, body, Mode.EDIT, **headers)) is expected


# --- in words ----------------------------------------------------------------------------------

WORDS: list[tuple[Any, str]] = [
    ({"error": "in words"}, "in words"),
    (
        {
            "error": "Invalid request parameters",
            "details": {"_errors": [], "prompt": {"_errors": ["String must not be empty"]}},
        },
        "Invalid request parameters; prompt: String must not be empty",
    ),
    (
        {"error": "Invalid", "details": {"_errors": ["Unrecognized key(s) in object: 'quality'"]}},
        "Invalid; Unrecognized key(s) in object: 'quality'",
    ),
    ({"error": "Invalid", "issues": [{"message": "Too small"}]}, "Invalid; Too small"),
    ({"error": "Invalid", "details": "the image is 100x100"}, "Invalid; the image is 100x100"),
    ({"error": {"message": "no such model", "type": "t", "code": "c"}}, "no such model"),
    ({"error": "in words", "request_id": "abc"}, "in words"),
    ({"code": "PAYLOAD_TOO_LARGE", "error": "too much"}, "too much"),
    ({"error": "no", "suggested_prompt": "a cat"}, "no; Venice suggests: a cat"),
    ({"customMessage": "Wait a little"}, "Wait a little"),
    ({"message": "in words"}, "in words"),
    ({"error": "same", "details": "same"}, "same"),
    ({"error": "two\nlines\x1b[31m"}, "two lines�[31m"),
    ({"error": "x" * 2000}, "x" * 499 + "…"),
]
SILENT: list[Any] = [
    {"x402Version": 1, "accepts": [], "authOptions": {}},
    {},
    [],
    "text",
    None,
    b"",
    b"<html><h1>502 Bad Gateway</h1></html>",
    b'{"error": "cut',
    b"\xff\xfe",
    b"[" * 60_000,
]


@pytest.mark.parametrize(("body", "words"), WORDS)
def test_every_shape_of_error_is_put_into_words(body: Any, words: str) -> None:
    assert error(400, body).detail == f"Venice answered 400: {words}"


@pytest.mark.parametrize("body", SILENT)
def test_error_without_words_is_told_by_its_status(body: Any) -> None:
    assert error(503, body).detail == "Venice answered 503."


@pytest.mark.parametrize("mode", ENDPOINTS)
@pytest.mark.parametrize("status", DOCUMENTED)
def test_no_detail_shows_key_that_venice_echoes(status: int, mode: Mode | None) -> None:
    for body in ({"error": f"The key {KEY} is bad"}, {"details": {KEY: {"_errors": [KEY]}}}):
        assert KEY[20:28] not in error(status, body, mode).detail


def test_key_that_end_of_detail_would_cut_is_hidden_too() -> None:
    detail = error(400, {"error": "x" * (http_errors.MAX_WORDS - 30) + " " + KEY}).detail

    assert "VENICE" not in detail
    assert detail.endswith("[key]")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "details", "_errors", "issues", "suggested_prompt"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(body=JSON, status=st.sampled_from([400, 401, 404, 422, 429, 500]))
def test_no_error_is_of_shape_that_breaks_client(body: Any, status: int) -> None:
    found = error(status, body)

    assert found.status == status
    assert found.detail.startswith(f"Venice answered {status}")


# --- when to come back -------------------------------------------------------------------------

DATE = "Fri, 15 Jan 2027 08:00:30 GMT"  # NOW + 30 s


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry_After": "7"}, 7),
        ({"Retry_After": "0"}, 0),
        ({"Retry_After": DATE}, 30),
        ({"Retry_After": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0),
        ({"Retry_After": "86400"}, 120),
        ({"Retry_After": "9" * 400}, 120),
        ({"Retry_After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 120),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "1.5"}, None),
        ({"x_ratelimit_reset_requests": f"{NOW + 40:.0f}"}, 40),
        ({"x_ratelimit_reset_requests": f"{(NOW + 40) * 1000:.0f}"}, 40),
        ({"x_ratelimit_reset_requests": "40"}, 40),
        ({"x_ratelimit_reset_requests": "0.5"}, 0.5),
        ({"x_ratelimit_reset_requests": f"{NOW - 40:.0f}"}, 0),
        ({"x_ratelimit_reset_requests": f"{NOW + 9999:.0f}"}, 120),
        ({"x_ratelimit_reset_requests": f"{(NOW + 9999) * 1000:.0f}"}, 120),
        ({"x_ratelimit_reset_requests": "9999"}, 120),
        ({"x_ratelimit_reset_requests": "-1"}, None),
        ({"x_ratelimit_reset_requests": "nan"}, None),
        ({"x_ratelimit_reset_requests": "inf"}, None),
        ({"x_ratelimit_reset_requests": "soon"}, None),
        ({"Retry_After": "7", "x_ratelimit_reset_requests": "40"}, 7),
        ({"Retry_After": "soon", "x_ratelimit_reset_requests": "40"}, 40),
    ],
)
def test_venices_time_is_read_in_every_form_up_to_two_minutes(
    headers: dict[str, str], wait: float | None
) -> None:
    found = error(429, {"error": "Rate limit"}, Mode.EDIT, **headers)

    assert type(found) is RateLimitedError
    if wait is None:
        assert found.retry_at is None
    else:
        assert found.retry_at == pytest.approx(NOW + wait, abs=0.001)


@given(st.text(max_size=40) | st.floats().map(str) | st.integers().map(str))
def test_whatever_stands_for_time_is_none_or_within_two_minutes(text: str) -> None:
    for at in (http_errors.reset_at(text, NOW), error(503, Retry_After=text).retry_at):
        assert at is None or NOW <= at <= NOW + 120


@pytest.mark.parametrize("year", [1, 1900, 1969, 9999])
@pytest.mark.parametrize("zone", ["GMT", "+2359", "-2359", "-0000", ""])
def test_date_at_ends_of_calendar_is_date(year: int, zone: str) -> None:
    at = error(503, Retry_After=f"Mon, 01 Jan {year:04} 00:00:00 {zone}").retry_at

    assert at is None or NOW <= at <= NOW + 120


def test_lock_out_lasts_half_minute_whatever_headers_say() -> None:
    at = error(429, {"error": "Too many failed attempts"}, Retry_After="1").retry_at

    assert at is not None
    assert NOW + 30 < at < NOW + 40


def test_429_names_limit_and_503_or_504_its_time() -> None:
    limited = error(429, {}, x_ratelimit_limit_requests="50")

    assert isinstance(limited, RateLimitedError)
    assert limited.quota == Quota(limit=50)
    assert error(503, Retry_After="9").retry_at == NOW + 9
    assert error(504, Retry_After="9").retry_at == NOW + 9


@pytest.mark.parametrize(
    ("text", "limit"),
    [("20", 20), ("0", None), ("", None), ("-1", None), ("many", None), ("2.5", None), ("٢", None)],
)
def test_limit_is_positive_whole_number_or_not_known(text: str, limit: int | None) -> None:
    assert http_errors.rate_limit({"x-ratelimit-limit-requests": text}) == limit


@pytest.mark.parametrize(
    ("reset", "at"),
    [("1800000000000", NOW), ("1800000000", NOW), ("42", None), ("nan", None), ("soon", None)],
)
def test_quota_tells_what_is_left_and_until_when(reset: str, at: float | None) -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "17",
        "x-ratelimit-reset-requests": reset,
    }

    assert http_errors.quota(headers) == Quota(60, 17, at)
    assert http_errors.quota({"x-ratelimit-remaining-requests": "-3"}) == Quota()


@given(st.text(max_size=20) | st.integers().map(str) | st.just("9" * 5000))
def test_whatever_stands_in_limit_is_no_harm(text: str) -> None:
    limit = http_errors.rate_limit({"x-ratelimit-limit-requests": text})

    assert limit is None or 1 <= limit < 1_000_000
