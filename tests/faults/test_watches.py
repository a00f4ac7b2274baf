"""Watches that lie, or say nothing: how long the operator believes them.

Times here are those of the operator's defaults, so the tests wait for minutes. They all wait at the same time: the
stories begin together, each in a lane of its own, and each test asks for the end of its own.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from tests.faults.faults import LISTS, WATCHES, BlackHole, DelayEvents, DropEvents, ExpireWatch, OldLists, Where
from tests.faults.lane import Lane, open_lane
from tests.faults.requestlog import Request
from tests.faults.runs import wait_ready
from tests.faults.scenarios import CATALOGUE_AND_STORES, CENTRAL, GLANCE
from tests.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

REPAIR_SECONDS = 90.0
"""The promise: so long after a child was deleted it is back, though its watch went silent and never said so."""
READY_SECONDS = 60
CHILDREN = (("Deployment", "glance-api"), ("Service", "glance-api"), ("PodDisruptionBudget", "glance-api"))
RESYNC_SECONDS = 10
"""For the story in which nothing but the next list shows what is missing; the default is ten minutes."""
SILENT_SECONDS = 85.0
"""How long the network is gone for everybody: the operator finds that its watches are dead while it still is."""
LATE_SECONDS = 4.0
CREATED, CHANGED, ADDED = CATALOGUE_AND_STORES.steps[:3]


def settled(lane: Lane, **settings: str) -> None:
    """Have an ImageService, Ready with all its children, and an operator that watches it."""
    lane.start_operator(**settings)
    lane.carry_out(CREATED)
    service = lane.api.get("ImageService", lane.namespace, "glance")
    lane.api.merge(service, {"spec": {"api": {"replicas": 2}}})
    wait_ready(lane, {GLANCE, CENTRAL}, READY_SECONDS, "the service is Ready")
    wait_for(lambda: lane.proxy.log.quiet_seconds() > 6.5, READY_SECONDS, "nobody writes any more")


def delete_children(lane: Lane) -> float:
    """Delete some children and return how long it takes until the last one is back, in seconds."""
    gone = {}
    for kind, name in CHILDREN:
        live = lane.api.get(kind, lane.namespace, name)
        gone[kind, name] = live["metadata"]["uid"]
        lane.api.delete(live)
    began = time.monotonic()

    def back() -> bool:
        found = {key: lane.api.find(key[0], lane.namespace, key[1]) for key in gone}
        return all(live is not None and live["metadata"]["uid"] != gone[key] for key, live in found.items())

    wait_for(back, 2 * REPAIR_SECONDS, f"the children are back in {lane.namespace}", pause=0.25)
    return time.monotonic() - began


def silent_watches(lane: Lane) -> float:
    """The open connections are dead and nobody says so. New ones work."""
    settled(lane)
    lane.proxy.inject(BlackHole(new_too=False))
    return delete_children(lane)


def silent_network(lane: Lane) -> float:
    """The open connections are dead, and for a while new watches and lists get no answer either."""
    settled(lane)
    hole = BlackHole(where=Where(verbs=WATCHES.verbs | LISTS.verbs))
    lane.proxy.inject(hole)
    lifting = ThreadPoolExecutor(1)
    lifting.submit(lambda: (time.sleep(SILENT_SECONDS), hole.lift()))
    return delete_children(lane)


def lost_events(lane: Lane) -> float:
    """Everything that the watches have to say is lost, while they seem to be in good health."""
    settled(lane, resync_seconds=str(RESYNC_SECONDS))
    lost = DropEvents(every=1)
    lane.proxy.inject(lost)
    seconds = delete_children(lane)
    assert lost.done >= len(CHILDREN)
    return seconds


def old_list_after_expiry(lane: Lane) -> tuple[int, list[Request], list[str]]:
    """All watches expire at once, and the lists that follow are of a time before anything was made.

    Return how many old lists were told, the writes and the deletions that the operator was led into.
    """
    old = OldLists()
    lane.proxy.inject(old)
    settled(lane)
    before = lane.versions()
    old.serve()
    expired = ExpireWatch()
    lane.proxy.inject(expired, DelayEvents(seconds=LATE_SECONDS))
    position = len(lane.proxy.log)
    for kind, name in (*CHILDREN, ("ImageStore", "central"), ("ImageService", "glance")):
        live = lane.api.get(kind, lane.namespace, name)
        lane.api.merge(live, {"metadata": {"annotations": {"example.org/touched": "yes"}}})
    wait_for(lambda: old.done >= len(CHILDREN) + 2, READY_SECONDS, "the watches have expired and old lists were told")
    lane.proxy.remove(expired)
    time.sleep(3 * LATE_SECONDS)
    lane.proxy.heal()
    wait_ready(lane, {GLANCE, CENTRAL}, READY_SECONDS, "the service is still Ready")
    replaced = [key for key, version in lane.versions().items() if version.split()[0] != before[key].split()[0]]
    return old.done, lane.proxy.log.writes(position), replaced


STORIES: dict[str, Callable[[Lane], Any]] = {
    story.__name__: story for story in (silent_watches, silent_network, lost_events, old_list_after_expiry)
}


@pytest.fixture(scope="module")
def told(request, api, keystone_clouds, nursery, tmp_path_factory):
    """What comes of each story; those that the selected tests ask for begin at once."""
    directory = tmp_path_factory.mktemp("watches")
    asked = {item.callspec.params["story"] for item in request.session.items if item.path == request.path}

    def tell(name: str) -> Any:
        with open_lane(api, keystone_clouds, nursery, directory / name) as lane:
            return STORIES[name](lane)

    with ThreadPoolExecutor(len(asked)) as threads:
        futures: dict[str, Future[Any]] = {name: threads.submit(tell, name) for name in asked}
        yield lambda name: futures[name].result()


@pytest.mark.parametrize("story", ["silent_watches"])
def test_a_child_deleted_behind_a_silent_watch_is_back_within_ninety_seconds(told, story, figure):
    seconds = told(story)
    figure(f"children deleted behind watches that went silent were back after {seconds:.1f} s")
    assert seconds < REPAIR_SECONDS


@pytest.mark.parametrize("story", ["silent_network"])
def test_when_a_silent_network_comes_back_so_do_the_children_deleted_meanwhile(told, story, figure):
    seconds = told(story)
    figure(f"children deleted when the network went silent for {SILENT_SECONDS:.0f} s were back after {seconds:.1f} s")
    assert seconds < SILENT_SECONDS + REPAIR_SECONDS


@pytest.mark.parametrize("story", ["lost_events"])
def test_a_deletion_that_no_event_told_of_is_made_good_by_the_next_list(told, story, figure):
    seconds = told(story)
    figure(f"children whose deletion no event told of were back after {seconds:.1f} s (lists every {RESYNC_SECONDS} s)")
    assert seconds < 2 * RESYNC_SECONDS + 10


@pytest.mark.parametrize("story", ["old_list_after_expiry"])
def test_an_old_list_after_a_watch_expired_has_nothing_deleted_or_made_anew(told, story, figure):
    lists, writes, replaced = told(story)
    figure(f"{lists} old lists after expired watches led to {len(writes)} writes, none of them a deletion")
    assert lists >= len(CHILDREN) + 2
    assert replaced == []
    assert not [write for write in writes if write.verb == "delete"]
