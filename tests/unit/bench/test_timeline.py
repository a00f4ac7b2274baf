import pytest
from bench.timeline import Sight, came_back, covered, first, own_seconds, undone


def sight(at, role, *, done=False, uid="", generation=1, present=True, spec=""):
    return Sight(at, role, role, uid or role, generation, done, present, spec)


# An instance is made at 10.0; a Job runs from 10.1 to 11.2, a workload comes up from 11.3 to 11.5, a second Job runs
# from 11.4 to 11.6; it is Ready at 11.8.
CREATION = [
    sight(10.0, "instance"),
    sight(10.1, "job", uid="first"),
    sight(10.2, "job", uid="first"),
    sight(11.2, "job", done=True, uid="first"),
    sight(11.3, "workload"),
    sight(11.4, "job", uid="second"),
    sight(11.5, "workload", done=True),
    sight(11.6, "job", done=True, uid="second"),
    sight(11.8, "instance", done=True),
]


def test_own_time_is_what_is_left_when_nobody_else_has_to_act():
    assert own_seconds(CREATION, 10.0, 11.8) == pytest.approx(0.1 + 0.1 + 0.2)


def test_time_in_which_a_job_and_a_workload_are_at_work_is_taken_off_once():
    both = [sight(1.0, "job"), sight(1.5, "workload"), sight(2.0, "job", done=True), sight(3.0, "workload", done=True)]
    assert own_seconds(both, 0.0, 4.0) == pytest.approx(2.0)


def test_a_job_that_never_ends_is_waited_for_until_the_end():
    assert own_seconds([sight(1.0, "job")], 0.0, 5.0) == pytest.approx(1.0)


def test_a_job_that_is_deleted_is_not_waited_for_any_longer():
    gone = [sight(1.0, "job"), sight(2.0, "job", present=False)]
    assert own_seconds(gone, 0.0, 5.0) == pytest.approx(4.0)


def test_a_workload_that_rolls_again_is_waited_for_again():
    rolls = [sight(1.0, "workload"), sight(2.0, "workload", done=True), sight(3.0, "workload")]
    assert own_seconds([*rolls, sight(4.0, "workload", done=True)], 0.0, 5.0) == pytest.approx(3.0)


def test_what_was_under_way_before_counts_from_the_beginning_only():
    assert covered([(0.0, 2.0), (1.0, 3.0), (9.0, 20.0)], 1.0, 10.0) == pytest.approx(2.0 + 1.0)


def test_the_first_sight_is_one_after_the_beginning():
    assert first(CREATION, "workload", 10.0) == 11.3
    assert first(CREATION, "workload", 11.4) == 11.5
    assert first(CREATION, "instance", 10.0, done=True) == 11.8
    assert first(CREATION, "instance", 12.0) is None


def test_a_state_of_an_older_generation_does_not_count():
    seen = [sight(1.0, "instance", done=True), sight(2.0, "instance", done=True, generation=2)]
    assert first(seen, "instance", 0.0, done=True, generation=2) == 2.0


def test_an_object_is_back_when_another_one_is_in_its_place():
    seen = [
        sight(1.0, "Service", uid="old"),
        sight(2.0, "Service", uid="old"),
        sight(2.1, "Service", uid="old", present=False),
        sight(2.2, "Service", uid="new"),
    ]
    assert came_back(seen, "Service", "old", 1.5) == 2.2
    assert came_back(seen[:3], "Service", "old", 1.5) is None


def test_an_edit_is_undone_when_the_spec_is_again_what_it_had_been():
    seen = [sight(1.0, "Service", spec="good"), sight(2.0, "Service", spec="good"), sight(2.1, "Service", spec="bad")]
    assert undone(seen, "Service", "good", 1.5) is None
    assert undone([*seen, sight(2.2, "Service", spec="good")], "Service", "good", 1.5) == 2.2
