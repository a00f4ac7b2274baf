"""Three images on three nodes, from a store of limited bandwidth: a real operator beside the way by hand.

By hand is how it was done before there was an operator, at its fastest: the images are queued on a node with Glance's
own API, which begins at once where there was a periodic job; when the node has them all, the next one has its turn.
"""

import os
import signal
import time

from tests.cluster import local, state
from tests.cluster.progress import say
from tests.glance.cache_nodes import CacheNodes, cache_nodes
from tests.waiting import wait_for

from bench.caches.place import Place
from bench.results import Results

NODES = 3
IMAGES = 3
MEBIBYTE = 2**20
BYTES_PER_SECOND = 8 * MEBIBYTE
FILL_SECONDS = 900
_LOOK_SECONDS = 0.2


def measure(at: Place, results: Results, *, mebibytes: int) -> None:
    """Record how long both ways take."""
    directory = at.directory / "filling"
    directory.mkdir()
    cluster = local.up(state.registry() / f"bench-{os.getpid()}-caches", nodes=0, fake_nodes=NODES, keep=False)
    try:
        with cache_nodes(cluster, at.keystone, at.installed, directory, NODES) as nodes:
            images = [nodes.image(os.urandom(mebibytes * MEBIBYTE)) for _ in range(IMAGES)]
            nodes.source.bytes_per_second = BYTES_PER_SECOND
            nodes.source.count_anew()
            say("an operator fills the nodes")
            ours = _by_operator(nodes, images)
            readers = nodes.source.most_at_once
            nodes.evict()
            say("the nodes are filled by hand")
            theirs = _by_hand(nodes, images)
    finally:
        cluster.down()
    results.record("fill.bandwidth", NODES, BYTES_PER_SECOND / MEBIBYTE)
    results.record("fill.image", NODES, mebibytes)
    results.record("fill.operator", NODES, ours)
    results.record("fill.by_hand", NODES, theirs)
    results.record("fill.ratio", NODES, ours / theirs)
    results.record("fill.readers", NODES, readers)


def _by_operator(nodes: CacheNodes, images: list[str]) -> float:
    """Return the time from the order until its status says that all is there; the order is taken back."""
    began = time.monotonic()
    nodes.home.want(*images, parallelism=NODES)
    nodes.home.wait_ready("golden", "imageprecache", seconds=FILL_SECONDS)
    seconds = time.monotonic() - began
    nodes.home.kubectl("delete", "imageprecache", "golden")
    wait_for(lambda: not any(agent.status()["sets"] for agent in nodes.agents), 120, "the nodes forget it")
    return seconds


def _by_hand(nodes: CacheNodes, images: list[str]) -> float:
    """Return the time until the last node has them, without the agents, which would see to Glance's queue as well."""
    for agent in nodes.agents:
        assert agent.process
        agent.process.send_signal(signal.SIGSTOP)
    try:
        return _queue_in_turn(nodes, images)
    finally:
        for agent in nodes.agents:
            assert agent.process
            agent.process.send_signal(signal.SIGCONT)


def _queue_in_turn(nodes: CacheNodes, images: list[str]) -> float:
    began = time.monotonic()
    for node in nodes.nodes:
        glance, token = node.at.glance, node.at.administrator.token
        for image in images:
            answer = glance.call("PUT", f"/v2/cache/{image}", token=token)
            assert answer.status == 202, answer.body
        wait_for(lambda node=node: set(images) <= set(node.rows()), FILL_SECONDS, "all cached", pause=_LOOK_SECONDS)
    return time.monotonic() - began
