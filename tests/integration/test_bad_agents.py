"""Agents that hang, fail and lie, and specs that ask for what cannot be: each is told, and the rest goes on."""

import contextlib
import json

import pytest
from tests import agents_stand_in, bad_agents
from tests.integration.cache_home import IMAGES, cache_home, cache_operator
from tests.integration.objects import image_service
from tests.operator_process import wait_for

from imageservice.reconcile.imageprecache import IDLE_SECONDS
from imageservice.reconcile.writing import COUNTS_SECONDS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

GOOD = 6
WAYS = list(bad_agents.WAYS)
COUNT = GOOD + len(WAYS)
BAD = {f"node-{GOOD + number}": way for number, way in enumerate(WAYS)}
AGAIN_SECONDS = 2 * IDLE_SECONDS + 10
"""Until an agent that was bad is asked again for certain."""
REASONS = {node: bad_agents.WAYS[way][1] for node, way in BAD.items()}


@pytest.fixture(scope="module")
def fleet():
    with agents_stand_in.running(COUNT) as found:
        found.work(at_work=True)
        yield found


@pytest.fixture(scope="module")
def operator(control_plane, fleet, tmp_path_factory):
    log = tmp_path_factory.mktemp("operator") / "log"
    with cache_operator(control_plane, log, fleet.agent_url, fleet.monitor_url) as process:
        yield process
        assert "Reconcile failed" not in log.read_text()


@pytest.fixture(scope="module")
def home(control_plane, keystone, operator):
    assert operator
    with cache_home(control_plane, keystone, COUNT) as made:
        yield made


@pytest.fixture
def behaving(fleet):
    """Let nodes behave badly while a test runs."""
    yield fleet.behave
    fleet.behave(dict.fromkeys((f"node-{number}" for number in range(COUNT)), ""))


@pytest.fixture(autouse=True)
def _nothing_is_wanted(home):
    yield
    home.kubectl("delete", "imageprecaches", "--all")


def failing(home):
    """Node -> the reason that the status gives."""
    return {row["node"]: row["reason"] for row in home.status().get("failingNodes", [])}


def everything(home, operator):
    """All that anybody can read: objects but for Secrets, Events, and the log."""
    objects = [home.get(kind) for kind in ("imageprecaches", "cachepolicies", "events", "imageservices")]
    return json.dumps(objects) + operator.log.read_text()


class TestAgents:
    def test_each_bad_one_is_named_with_its_reason_and_the_others_are_filled(self, home, fleet, operator, behaving):
        behaving(BAD)
        home.want(*IMAGES[:2], parallelism=2)
        home.told(60, desired=COUNT, cached=GOOD)
        wait_for(lambda: failing(home) == REASONS, 60, f"{REASONS} is told; there is {failing(home)}")
        assert home.status()["nodes"]["unavailable"] == COUNT - GOOD - 1  # one answers, that it has failed
        assert all(row["cachedNodes"] == GOOD for row in home.status()["images"])
        assert home.conditions("imageprecache", "golden")["Ready"]["reason"] == "FetchFailed"
        wait_for(lambda: home.writes(COUNTS_SECONDS + 2) == 0, 60, "counts and words that were put off are written")
        # They are asked again, and are as bad: there is nothing new to write.
        assert home.writes(IDLE_SECONDS + 5) == 0
        assert fleet.counts()["trapped"] == 0, "a redirect was followed"
        assert operator.is_ready()

    def test_what_they_repeat_is_no_secret(self, home, operator, behaving):
        behaving({"node-1": "repeats the token"})
        home.want(IMAGES[0])
        wait_for(lambda: failing(home).get("node-1") == "WorkerFailed", 60, "the failure is told")
        [row] = [row for row in home.status()["failingNodes"] if row["node"] == "node-1"]
        assert row["message"] == "it came with ***"
        assert home.token() not in everything(home, operator)

    def test_all_is_well_when_they_are(self, home, fleet, behaving):
        behaving(BAD)
        home.want(IMAGES[0])
        wait_for(lambda: failing(home) == REASONS, 60, f"{REASONS} is told; there is {failing(home)}")
        fleet.behave(dict.fromkeys(BAD, ""))
        home.told(AGAIN_SECONDS, cached=COUNT)
        home.wait_ready("golden", "imageprecache")
        assert home.status()["failingNodes"] == []

    def test_images_that_nobody_asked_for_count_for_nothing(self, home, behaving):
        behaving({"node-2": "foreign images"})
        home.want(IMAGES[0], parallelism=2)
        home.told(AGAIN_SECONDS, desired=COUNT, cached=COUNT - 1, pending=1)
        assert bad_agents.FOREIGN_IMAGE not in json.dumps(home.precache())
        assert home.status()["bytesDone"] == (COUNT - 1) * agents_stand_in.SIZE

    def test_one_that_says_something_else_each_time_brings_no_storm_of_writes(self, home, behaving):
        behaving({"node-3": "changes"})
        home.want(IMAGES[0])
        home.told(60, desired=COUNT)
        assert home.writes(20) <= 20
        events = [item for item in home.get("events")["items"] if item["involvedObject"]["kind"] == "ImagePrecache"]
        assert len(events) <= 10


class TestSpecs:
    def test_names_that_are_unknown_are_told_and_the_rest_is_cached(self, home):
        home.want(IMAGES[0], images=[{"id": IMAGES[0]}, {"name": "no-such-image"}])
        told = home.wait_reason("ImagesNotFound", "ResolvedRefs", "imageprecache", "golden")
        assert "`no-such-image`" in told["message"]
        home.told(AGAIN_SECONDS, cached=COUNT)

    def test_a_selector_that_finds_nothing_says_so(self, home):
        home.want(images=[], imageSelector={"tags": ["no-such-tag"]})
        told = home.wait_reason("NoImages", "Ready", "imageprecache", "golden")
        assert "imageSelector" in told["message"]
        assert home.conditions("imageprecache", "golden")["ResolvedRefs"]["status"] == "True"

    @pytest.mark.parametrize("schedule", ["61 25 * * *", "0 0 31 2 *"])
    def test_a_cron_line_that_never_comes_round_is_refused_in_words(self, home, schedule):
        home.want(IMAGES[0], windows=[{"schedule": schedule, "durationSeconds": 3600}])
        told = home.wait_reason("InvalidSpec", "Accepted", "imageprecache", "golden")
        assert "cron schedule" in told["message"]
        assert home.conditions("imageprecache", "golden")["Stalled"]["status"] == "True"
        assert home.writes(5) == 0

    def test_no_policy_is_chosen(self, home):
        home.want(IMAGES[0], cachePolicySelector={"matchLabels": {"no": "such"}})
        home.wait_reason("NoCachePolicy", "ResolvedRefs", "imageprecache", "golden")

    def test_what_a_policy_and_a_precache_refer_to_goes_away_and_comes_back(self, home):
        home.want(IMAGES[0])
        home.told(AGAIN_SECONDS, cached=COUNT)
        service = home.find("imageservice", "glance")["spec"]
        home.kubectl("delete", "imageservice", "glance")
        home.wait_reason("ImageServiceNotFound", "ResolvedRefs", "imageprecache", "golden")
        home.wait_reason("TargetNotFound", "ResolvedRefs", "cachepolicy", "edge")
        home.apply({**image_service(home.keystone), "spec": service})
        home.wait_ready()
        home.wait_ready("golden", "imageprecache", seconds=90)

    def test_the_older_of_two_policies_for_the_same_nodes_has_them(self, home):
        home.policy("second")
        with contextlib.ExitStack() as stack:
            stack.callback(home.kubectl, "delete", "cachepolicy", "second")
            told = home.wait_reason("Conflicted", "Accepted", "cachepolicy", "second")
            assert "`edge`" in told["message"]
            assert home.find("daemonset", "second-cache") is None
            assert home.conditions("cachepolicy", "edge")["Accepted"]["status"] == "True"
