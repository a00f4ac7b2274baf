"""What was found a short while ago, so that loops that change nothing do not ask Keystone again and again."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from imageservice.expiring import Expiring
from imageservice.identity.errors import IdentityError, Reason
from imageservice.render.inputs import ApplicationCredential, Credentials

FRESH_SECONDS = 300.0
"""For how long a good answer holds. What is revoked or edited behind our back is noticed this much later at most."""
FAILURE_SECONDS = 10.0
"""For how long a failure holds. Short, as it mends itself; not zero, as Keystone may lock a user after bad logins."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    value: T | None
    failure: tuple[Reason, str] | None  # not the exception: its frames would keep the credentials alive


class Recent(Generic[T]):
    """Outcomes by key, each for a limited time. The key is a hash: no secret is kept here."""

    def __init__(
        self,
        *,
        fresh_seconds: float = FRESH_SECONDS,
        failure_seconds: float = FAILURE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fresh_seconds = fresh_seconds
        self._failure_seconds = failure_seconds
        self._outcomes: Expiring[str, _Outcome[T]] = Expiring(clock)

    async def get(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the outcome under `key` while it holds, an error included; otherwise ask, and keep the outcome."""
        outcome = self._outcomes.get(key)
        if outcome is None:
            outcome = await _ask(ask)
            seconds = self._fresh_seconds if outcome.failure is None else self._failure_seconds
            self._outcomes.put(key, outcome, seconds)
        if outcome.failure is not None:
            raise IdentityError(*outcome.failure)
        return outcome.value  # type: ignore[return-value]  # None only where T is None

    def clear(self) -> None:
        """Forget everything: the next `get` of any key asks."""
        self._outcomes.clear()

    def __len__(self) -> int:
        return len(self._outcomes)


async def _ask(ask: Callable[[], Awaitable[T]]) -> _Outcome[T]:
    try:
        return _Outcome(await ask(), None)
    except IdentityError as error:
        return _Outcome(None, (error.reason, error.message))


def key_of(auth_url: str, credentials: Credentials, *parts: object) -> str:
    """Return the hash that stands for these credentials at this Keystone, and for whatever else the answer is about."""
    if isinstance(credentials, ApplicationCredential):
        login: tuple[str, ...] = (credentials.id, credentials.secret.reveal())
    else:
        login = (
            credentials.username,
            credentials.password.reveal(),
            credentials.project_name,
            credentials.user_domain_name,
            credentials.project_domain_name,
        )
    return hashlib.sha256(repr((auth_url, login, parts)).encode()).hexdigest()
