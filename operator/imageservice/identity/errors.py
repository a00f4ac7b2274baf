"""The one error of this package: Keystone did not do what was asked, with a fixed reason and a cure."""

from enum import StrEnum


class Reason(StrEnum):
    """Why Keystone could not be used. The values are API: they appear in conditions and Events."""

    KEYSTONE_UNREACHABLE = "KeystoneUnreachable"
    """No connection, no TLS, or no answer in time."""
    KEYSTONE_REFUSED = "KeystoneRefused"
    """It answered, but not as a Keystone v3 that is well: HTTP 5xx, a redirect, something that is not its JSON."""
    CREDENTIALS_REFUSED = "CredentialsRefused"
    """HTTP 401: user, password, project or application credential is wrong, expired or disabled."""
    NOT_AUTHORIZED = "NotAuthorized"
    """HTTP 403: the credentials are good, but their roles do not allow what was asked."""
    ROLE_MISSING = "RoleMissing"
    """The service user lacks the `service` role."""
    ENDPOINT_CONFLICT = "EndpointConflict"
    """The catalogue holds an entry of somebody else in the place of ours."""


class IdentityError(Exception):
    """Keystone could not be used. `reason` is fixed, `message` says what is wrong, where, and how to mend it.

    Neither ever holds a password, a secret or a token.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
