"""Whatever goes wrong on the way, the end is the same: each run is compared with one in which nothing did."""

import pytest
from tests.faults.campaign import Campaign, DisturbedTrial, KillTrial, Trial
from tests.faults.faults import (
    ALL,
    GETS,
    LISTS,
    READS_OF_OBJECTS,
    WATCHES,
    WRITES,
    DelayEvents,
    DropEvents,
    ExpireWatch,
    Late,
    Refuse,
    RepeatEvents,
    Reset,
    Silence,
)
from tests.faults.lane import KEYSTONE
from tests.faults.runs import Faulty, KillPoints, RestartedBeforeOldLists, TwoOperators
from tests.faults.scenarios import CACHES, CACHES_IN_SHORT, CATALOGUE, CATALOGUE_AND_STORES, SCENARIOS

# A test waits for all runs of its trial, and those of others that are on their way.
pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]

LANES = 16
CHAINS = 6
"""Runs of one trial at the same time."""
SOON = {"resync_seconds": "8"}
"""For what nobody tells the operator: it is only found when it looks at a settled object all the same."""

KILLS = [KillTrial(KillPoints(scenario, "unanswered"), CHAINS) for scenario in SCENARIOS]
# Between two writes it is at work in Keystone, or tells nodes what they are to have.
KILLS += [KillTrial(KillPoints(scenario, "answered"), CHAINS) for scenario in (CATALOGUE, CACHES)]
OUTSIDE = [KillTrial(KillPoints(CATALOGUE, moment, server=KEYSTONE), 1) for moment in ("unanswered", "answered")]
"""With a real Keystone, killed at the writes there: entries are neither missing nor doubled afterwards."""
LEAST_KILL_POINTS = {
    "catalogue": 20,
    "catalogue and stores": 40,
    "releases and errors": 30,
    "no replica": 25,
    "credentials and edge": 60,
    "caches": 40,
}

_FAULTS = {
    "writes refused with 409": lambda: [Refuse(WRITES, times=3, status=409)],
    "writes refused with 422": lambda: [Refuse(WRITES, times=2, status=422)],
    "writes refused with 429": lambda: [Refuse(WRITES, times=3, status=429, retry_after=1)],
    "writes refused with 500": lambda: [Refuse(WRITES, times=3, status=500)],
    "reads refused with 429": lambda: [Refuse(READS_OF_OBJECTS, times=4, status=429, retry_after=1)],
    "reads refused with 500": lambda: [Refuse(READS_OF_OBJECTS, times=4, status=500)],
    "eight requests in a row refused with 503": lambda: [Refuse(ALL, times=8, skip=2, status=503)],
    "connections reset before the request": lambda: [Reset(ALL, times=6)],
    "connections reset before the answer": lambda: [Reset(WRITES, times=4, reached=True)],
    "requests never answered": lambda: [Silence(WRITES, times=1, skip=1), Silence(GETS, times=1, skip=3)],
    "writes carried out and never answered": lambda: [Silence(WRITES, times=2, skip=1, reached=True)],
    "answers late": lambda: [Late(READS_OF_OBJECTS, times=8, seconds=1.5)],
    "every second watch event lost": lambda: [DropEvents(every=2)],
    "watch events late": lambda: [DelayEvents(seconds=2)],
    "watch events told three times": lambda: [RepeatEvents()],
    "watches expired": lambda: [ExpireWatch(after_events=1)],
    "watches refused with 410": lambda: [ExpireWatch(), Refuse(WATCHES, times=14, status=410)],
    "lists refused with 500": lambda: [ExpireWatch(), Refuse(LISTS, times=7, status=500)],
}

STORIES = (("", CATALOGUE_AND_STORES), ("caches, ", CACHES_IN_SHORT))
"""What the name of the trial begins with, and the stories that go on under each of these."""

FAULTS: list[Trial] = [
    DisturbedTrial(scenario, Faulty(f"{which}{name}", make, 5.0, SOON))
    for which, scenario in STORIES
    for name, make in _FAULTS.items()
]
for which, scenario in STORIES:
    FAULTS += [
        DisturbedTrial(scenario, RestartedBeforeOldLists(f"{which}restarted before old lists", 2.0)),
        DisturbedTrial(scenario, TwoOperators(f"{which}two operators at once")),
    ]


def _id(trial):
    return trial.name.replace(", ", "-").replace(" ", "-")


@pytest.fixture(scope="module")
def wait_for_runs(request, api, nursery, tmp_path_factory):
    """Begin with all runs of the selected tests at once; give a function that waits for those of one trial."""
    chosen = [item.callspec.params["trial"] for item in request.session.items if item.path == request.path]
    campaigns = {}
    for keystone, lanes in (("keystone_clouds", LANES), ("keystone", 1)):
        trials = [trial for trial in chosen if (trial in OUTSIDE) == (keystone == "keystone")]
        if trials:
            directory = tmp_path_factory.mktemp(keystone)
            begun = Campaign(api, request.getfixturevalue(keystone), nursery, directory, lanes)
            begun.start(trials)
            campaigns |= dict.fromkeys(trials, begun)
    yield lambda trial: campaigns[trial].wait(trial)
    for campaign in set(campaigns.values()):
        campaign.stop()


@pytest.mark.parametrize("trial", KILLS, ids=_id)
def test_killed_at_any_write_and_restarted_every_step_ends_as_in_the_straight_run(wait_for_runs, trial, figure):
    wait_for_runs(trial)
    tried = trial.points.tried
    figure(f"{trial}: {tried.total()} kill points in {trial.runs} runs, {dict(tried)}, {trial.seconds:.0f} s of lanes")
    assert tried.total() >= LEAST_KILL_POINTS[trial.points.scenario.name]


@pytest.mark.parametrize("trial", OUTSIDE, ids=_id)
def test_killed_at_any_write_to_keystone_the_catalogue_ends_as_in_the_straight_run(wait_for_runs, trial, figure):
    wait_for_runs(trial)
    tried = trial.points.tried
    figure(f"{trial} in a real Keystone: {tried.total()} kill points in {trial.runs} runs, {dict(tried)}")
    assert tried.total() >= 5


@pytest.mark.parametrize("trial", FAULTS, ids=_id)
def test_with_any_fault_for_a_while_every_step_ends_as_in_the_straight_run(wait_for_runs, trial, figure):
    wait_for_runs(trial)
    figure(f"{trial}: {trial.hits} times in {trial.seconds:.0f} s")
    assert trial.hits >= 5
