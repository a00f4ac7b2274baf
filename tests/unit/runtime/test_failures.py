"""Answers of the API server, and of proxies before it, as errors."""

import pytest

from imageservice.runtime.failures import ApiError, Conflict, Forbidden, Invalid, NotFound, Throttled, failure

STATUS = {"kind": "Status", "reason": "SomeReason", "message": "some message"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, Invalid),
        (500, ApiError),
        (503, ApiError),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[ApiError]) -> None:
    error = failure(status, STATUS, None, reveal=True)
    assert type(error) is kind
    assert (error.status, error.reason, error.message) == (status, "SomeReason", "some message")


@pytest.mark.parametrize(
    ("status", "header", "body", "seconds"),
    [
        (429, "7", {}, 7),
        (429, None, {"details": {"retryAfterSeconds": 3}}, 3),
        (429, None, {}, 1),
        (429, "soon", {}, 1),
        (429, "-5", {}, 0),
        (429, "99999", {}, 300),
        (503, "2", {}, 2),
    ],
)
def test_a_server_that_is_busy_says_when_to_come_back(
    status: int, header: str | None, body: dict[str, object], seconds: float
) -> None:
    error = failure(status, body, header, reveal=True)
    assert isinstance(error, Throttled)
    assert error.retry_after == seconds


def test_a_uid_that_is_not_that_of_the_object_is_a_conflict() -> None:
    answer = STATUS | {"details": {"causes": [{"field": "metadata.uid", "message": "field is immutable"}]}}
    assert isinstance(failure(422, answer, None, reveal=True), Conflict)


@pytest.mark.parametrize("answer", [None, [], "<html>", {"details": None}, {"reason": None}, 5])
def test_an_answer_that_is_no_status_object_is_an_error_all_the_same(answer: object) -> None:
    assert failure(502, answer, None, reveal=True).status == 502


def test_the_servers_words_about_a_secret_are_withheld() -> None:
    error = failure(422, STATUS | {"message": "data[x]: planted-password"}, None, reveal=False)
    assert "planted-password" not in str(error)
    assert "422" in str(error)


def test_a_long_message_is_cut() -> None:
    assert len(failure(500, {"message": "x" * 5000}, None, reveal=True).message) == 1024
