"""What can go wrong at the API server, as one family of errors. None of them holds the content of a Secret."""

from typing import Any

_MESSAGE_LENGTH = 1024
_DEFAULT_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 300.0


class ApiError(Exception):
    """The API server refused a request. `status` is the HTTP status (0: no answer), `reason` the CamelCase reason."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ApiError):  # noqa: N818 - the API server's own words for all of these
    """The object, or its kind, is not there."""


class Conflict(ApiError):  # noqa: N818
    """The object is not the one, or not the version, that the request was about; or it exists already."""


class Invalid(ApiError):  # noqa: N818
    """The API server refused the content of the request."""


class Forbidden(ApiError):  # noqa: N818
    """The operator may not do this, or an admission rule or a quota is against it."""


class NamespaceEnds(Forbidden):
    """The namespace is being deleted, and takes nothing new."""


class Throttled(ApiError):  # noqa: N818
    """The API server asks to come back after `retry_after` seconds."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float) -> None:
        super().__init__(status, reason, message)
        self.retry_after = retry_after


class Unreachable(ApiError):  # noqa: N818
    """There was no answer: whether a write was done is not known."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


class NotLeading(ApiError):  # noqa: N818
    """The lease is not surely ours any more, so nothing may be written. Nothing was."""

    def __init__(self) -> None:
        super().__init__(0, "NotLeading", "the lease is no longer surely held by this process")


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
}


def failure(status: int, answer: Any, retry_after: str | None, *, reveal: bool) -> ApiError:
    """Return the error for an answer (a `Status` object, or whatever a proxy on the way made of it).

    With `reveal` false, the server's own message, which may quote what was sent, is left out.
    """
    details = answer if isinstance(answer, dict) else {}
    reason = str(details.get("reason") or "Unknown")
    message = str(details.get("message") or "no message")[:_MESSAGE_LENGTH] if reveal else "(message withheld: Secret)"
    if _is_another(status, details):
        return Conflict(status, "Conflict", message)
    if status == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in _causes(details)):
        return NamespaceEnds(status, reason, message)
    if status == 429 or (status == 503 and retry_after):
        return Throttled(status, reason, message, _retry_seconds(retry_after, details))
    return _BY_STATUS.get(status, ApiError)(status, reason, message)


def _is_another(status: int, details: dict[str, Any]) -> bool:
    """Tell whether the uid in the request is not that of the object: the API server calls that an invalid change."""
    return status == 422 and any(cause.get("field") == "metadata.uid" for cause in _causes(details))


def _causes(details: dict[str, Any]) -> list[dict[str, Any]]:
    return (details.get("details") or {}).get("causes") or []


def _retry_seconds(header: str | None, details: dict[str, Any]) -> float:
    """Return the wait asked for in seconds: by the header, else by the body, within sane limits."""
    asked = header if header is not None else (details.get("details") or {}).get("retryAfterSeconds")
    try:
        seconds = float(asked) if asked is not None else _DEFAULT_RETRY_SECONDS
    except (TypeError, ValueError):  # a date is legal too, but no API server sends one
        seconds = _DEFAULT_RETRY_SECONDS
    return min(max(seconds, 0.0), _LONGEST_RETRY_SECONDS)
