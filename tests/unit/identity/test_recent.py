"""What is remembered of Keystone, for how long, and that no secret is part of it."""

import pytest

from imageservice.identity.errors import IdentityError, Reason
from imageservice.identity.recent import Recent, key_of
from imageservice.render.inputs import ApplicationCredential, Credentials, PasswordCredential
from imageservice.sensitive import Sensitive

USER = PasswordCredential("glance", Sensitive("hunter2"), "service")


class World:
    """A clock to be set, and a Keystone that counts how often it was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.failing = False
        self.recent: Recent[str] = Recent(fresh_seconds=300, failure_seconds=10, clock=lambda: self.now)

    async def ask(self) -> str:
        self.asked += 1
        if self.failing:
            raise IdentityError(Reason.KEYSTONE_UNREACHABLE, "gone")
        return f"answer {self.asked}"

    async def at(self, seconds: float, key: str = "key") -> str:
        self.now = seconds
        return await self.recent.get(key, self.ask)


async def test_a_good_answer_holds_for_its_time_and_no_longer() -> None:
    world = World()
    assert [await world.at(second) for second in (0, 1, 299)] == ["answer 1"] * 3
    assert await world.at(300) == "answer 2"


async def test_a_failure_holds_for_a_short_time_only() -> None:
    world = World()
    world.failing = True
    for second in (0, 9):
        with pytest.raises(IdentityError, match="gone") as caught:
            await world.at(second)
        assert caught.value.reason == Reason.KEYSTONE_UNREACHABLE
    world.failing = False
    assert world.asked == 1
    assert await world.at(10) == "answer 2"


async def test_what_is_outdated_is_dropped() -> None:
    world = World()
    for number in range(100):
        await world.at(0, key=str(number))
    await world.at(301)
    assert len(world.recent) == 1


async def test_nothing_is_known_after_clear() -> None:
    world = World()
    await world.at(0)
    world.recent.clear()
    assert await world.at(1) == "answer 2"


@pytest.mark.parametrize(
    "other",
    [
        PasswordCredential("glance", Sensitive("changed"), "service"),
        PasswordCredential("glance", Sensitive("hunter2"), "other"),
        PasswordCredential("glance", Sensitive("hunter2"), "service", project_domain_name="other"),
        ApplicationCredential("glance", Sensitive("hunter2")),
    ],
)
def test_other_credentials_have_another_key(other: Credentials) -> None:
    assert key_of("http://keystone/v3", other) != key_of("http://keystone/v3", USER)


def test_another_keystone_or_another_question_has_another_key() -> None:
    keys = {key_of("http://one/v3", USER), key_of("http://two/v3", USER), key_of("http://one/v3", USER, "catalog")}
    assert len(keys) == 3


def test_a_key_tells_no_secret() -> None:
    assert "hunter2" not in key_of("http://keystone/v3", USER)
