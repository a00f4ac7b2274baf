"""Values that hold for a while: what is over is not given, and does not pile up."""

import pytest

from imageservice.expiring import Expiring


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_value_holds_until_its_time_is_over(clock):
    values: Expiring[str, list[int]] = Expiring(clock)
    assert values.get("a") is None
    values.put("a", [], 10)
    values.put("b", [1], 20)
    clock.now = 9.9
    assert values.get("a") == []
    clock.now = 10.0
    assert values.get("a") is None
    assert values.get("b") == [1]
    values.put("b", [2], 5)
    assert values.get("b") == [2]
    clock.now = 15.0
    assert values.get("b") is None, "the newest value counts, and how long that one holds"


def test_what_was_cleared_holds_no_longer(clock):
    values: Expiring[str, int] = Expiring(clock)
    values.put("a", 1, 10)
    values.clear()
    assert values.get("a") is None


@pytest.mark.parametrize("alive", [10, 1000])
def test_what_is_over_does_not_pile_up_and_what_holds_is_never_lost(clock, alive):
    values: Expiring[int, int] = Expiring(clock)
    most = 0
    for number in range(10 * alive):
        clock.now = float(number)
        values.put(number, number, alive)
        most = max(most, len(values))
        assert values.get(number - alive + 1) == (number - alive + 1 if number >= alive - 1 else None)
    assert most == alive


def test_what_is_over_behind_a_value_that_holds_longer_goes_with_it(clock):
    values: Expiring[str, int] = Expiring(clock)
    values.put("long", 1, 100)
    values.put("short", 2, 10)
    clock.now = 50.0
    values.put("new", 3, 100)
    assert values.get("short") is None
    clock.now = 100.0
    values.put("newer", 4, 100)
    assert len(values) == 2
    assert values.get("new") == 3
