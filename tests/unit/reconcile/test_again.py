"""A pass comes back as early as anything in it asks for."""

from imageservice.reconcile.again import LookAgain


def test_comes_back_only_when_something_changes_unless_asked_to() -> None:
    assert LookAgain().requeue_after is None


def test_the_earliest_look_counts_in_whatever_order_they_are_asked_for() -> None:
    current = LookAgain(requeue_after=60.0)
    for seconds in (15.0, None, 5.0, 30.0):
        current.look_again(seconds)
    assert current.requeue_after == 5.0
