"""`image-service-operator cache ...`: look into the caches of nodes, and act on them by hand.

What glance-cache-manage does on each controller in turn is done here for any node, from wherever kubectl works:
requests go through the API server to the agent in the pod of the node (`pods/proxy`), with the token of its
CachePolicy, which is read from the Secret of its configuration (`secrets`, `daemonsets`: get).
"""

import argparse
import asyncio
import base64
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from imageservice.agent_report import AgentReport, ImageState
from imageservice.glance import agents
from imageservice.glance.agents import Agent, AgentError
from imageservice.manifest import Manifest
from imageservice.render.agent_token import TOKEN_FILE
from imageservice.render.cache_labels import agents_slices, cache_name
from imageservice.render.ports import AGENT_PORT
from imageservice.runtime.connection import Connection
from imageservice.runtime.kinds import CACHE_POLICY, DAEMON_SET, ENDPOINT_SLICE, POD, SECRET
from imageservice.runtime.kube import ApiError, KubeApi
from imageservice.sensitive import Sensitive

WAIT_SECONDS = 1.0
BAR_CELLS = 30
_CONNECTIONS = 64


class NotDone(Exception):  # noqa: N818 - what is told to the user
    """The command cannot be done; the message says why."""


@dataclass(frozen=True)
class Place:
    """The agent of a node of a CachePolicy."""

    policy: str
    agent: Agent


class Caches:
    """All caches of a namespace, through the API server."""

    def __init__(self, kube: KubeApi, session: aiohttp.ClientSession, server: str, namespace: str) -> None:
        self._kube = kube
        self.session = session
        self._server = server
        self._namespace = namespace

    async def places(self, policy: str | None = None, node: str | None = None) -> list[Place]:
        """Return the agents of all policies, or of one, on all nodes, or on one. Raise NotDone where there is none."""
        if policy is not None and await self._kube.get(CACHE_POLICY, self._namespace, policy) is None:
            raise NotDone(f"There is no CachePolicy {policy} in the namespace {self._namespace}.")
        names = [policy] if policy else [one["metadata"]["name"] for one in await self._policies()]
        found = [place for name in sorted(names) for place in await self._of(name) if node in (None, place.agent.node)]
        if not found:
            where = f"on the node {node}" if node else "on any node"
            raise NotDone(f"There is no cache {where} in the namespace {self._namespace}.")
        return found

    async def _policies(self) -> list[Manifest]:
        return await self._kube.list(CACHE_POLICY, self._namespace)

    async def _of(self, policy: str) -> list[Place]:
        pods = await self._pods(policy)
        token = await self._token(policy) if pods else None
        if token is None:
            return []
        path = POD.path(self._namespace)
        return [
            Place(policy, Agent(node, f"{self._server}{path}/http:{pod}:{AGENT_PORT}/proxy", token))
            for node, pod in sorted(pods.items())
        ]

    async def _pods(self, policy: str) -> dict[str, str]:
        """Return node -> pod, leaving out pods on their way out."""
        return {
            endpoint["nodeName"]: endpoint["targetRef"]["name"]
            for found in await self._kube.list(ENDPOINT_SLICE, self._namespace, labels=agents_slices(policy))
            for endpoint in found.get("endpoints") or []
            if endpoint.get("nodeName")
            and (endpoint.get("targetRef") or {}).get("kind") == "Pod"
            and not (endpoint.get("conditions") or {}).get("terminating")
        }

    async def _token(self, policy: str) -> Sensitive | None:
        deployed = await self._kube.get(DAEMON_SET, self._namespace, cache_name(policy))
        volumes = deployed["spec"]["template"]["spec"]["volumes"] if deployed else []
        names = (volume["secret"]["secretName"] for volume in volumes if volume["name"] == "config")
        secret = await self._kube.get(SECRET, self._namespace, next(names, ""))
        encoded = (secret or {}).get("data", {}).get(TOKEN_FILE)
        return Sensitive(base64.b64decode(encoded).decode()) if encoded else None


# ------------------------------------------------------------------------------------------------------------ commands


async def status(caches: Caches, options: argparse.Namespace) -> None:
    """Print a line for each node."""
    places = await caches.places(options.policy, options.node)
    rows = [await _status_row(caches, place) for place in places]
    _table(("NODE", "POLICY", "IMAGES", "USED", "SIZE", "HITS", "FETCHING", "WAITING", "FAILED"), rows)


async def _status_row(caches: Caches, place: Place) -> tuple[str, ...]:
    try:
        report = await _report(caches, place)
    except AgentError as error:
        return place.agent.node, place.policy, error.message
    count = {state: sum(image.state is state for image in report.images.values()) for state in ImageState}
    cache = report.cache
    numbers = (count[ImageState.FETCHING], count[ImageState.WAITING], count[ImageState.FAILED])
    sizes = (size(cache.used_bytes), size(cache.max_bytes))
    return place.agent.node, place.policy, str(cache.images), *sizes, str(cache.hits), *map(str, numbers)


async def list_images(caches: Caches, options: argparse.Namespace) -> None:
    """Print what is in the cache of a node, and what is in Glance's queue there."""
    for place in await caches.places(options.policy, options.node):
        content = await agents.content(caches.session, place.agent)
        rows = [
            (row.id, size(row.size_bytes), str(row.hits), _moment(row.last_accessed), "cached")
            for row in sorted(content.cached, key=lambda row: row.id)
        ]
        rows += [(image, "", "", "", "queued") for image in sorted(content.queued)]
        sys.stdout.write(f"{place.agent.node} ({place.policy})\n")
        _table(("IMAGE", "SIZE", "HITS", "LAST READ", "STATE"), rows)


async def where(caches: Caches, options: argparse.Namespace) -> None:
    """Print which nodes hold an image."""
    rows = []
    for place in await caches.places(options.policy):
        try:
            content = await agents.content(caches.session, place.agent)
        except AgentError as error:
            rows.append((place.agent.node, place.policy, error.message))
            continue
        if any(row.id == options.image for row in content.cached):
            rows.append((place.agent.node, place.policy, "cached"))
        elif options.image in content.queued:
            rows.append((place.agent.node, place.policy, "queued"))
    _table(("NODE", "POLICY", "STATE"), rows)


async def queue(caches: Caches, options: argparse.Namespace) -> None:
    """Put an image into the queue of nodes, or take it or all out; wait for it if asked to."""
    places = await caches.places(options.policy, options.node)
    for place in places:
        if options.delete or options.all:
            await agents.unqueue(caches.session, place.agent, None if options.all else options.image)
        else:
            await agents.queue(caches.session, place.agent, options.image)
    if options.wait and not (options.delete or options.all):
        await _wait(caches, places, options.image, options.timeout)


async def evict(caches: Caches, options: argparse.Namespace) -> None:
    """Throw an image, or all, out of the caches of nodes."""
    for place in await caches.places(options.policy, options.node):
        image = None if options.all else options.image
        await agents.evict(caches.session, place.agent, image, force=options.force)


async def _wait(caches: Caches, places: Sequence[Place], image: str, seconds: float) -> None:
    """Wait until an image is on all these nodes, with a bar that tells on how many it is."""
    deadline = time.monotonic() + seconds
    while True:
        done = 0
        for place in places:
            content = await agents.content(caches.session, place.agent)
            done += any(row.id == image for row in content.cached)
        _bar(done, len(places))
        if done == len(places):
            return
        if time.monotonic() > deadline:
            raise NotDone(f"After {seconds:g} s the image is on {done} of {len(places)} nodes.")
        await asyncio.sleep(WAIT_SECONDS)


async def _report(caches: Caches, place: Place) -> AgentReport:
    found = await agents.status(caches.session, place.agent)
    if found is None:
        raise AgentError(agents.Reason.AGENT_REFUSED, "the agent says nothing")
    return found[0]


# --------------------------------------------------------------------------------------------------------------- output


def size(count: int) -> str:
    """Return a number of bytes for people: 1.5 GiB."""
    amount, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def _moment(epoch: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)) if epoch else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [head, *rows]
    widths = [max((len(line[at]) for line in lines if at < len(line)), default=0) for at in range(len(head))]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False))
        sys.stdout.write("   ".join(cells).rstrip() + "\n")


def _bar(done: int, whole: int) -> None:
    cells = BAR_CELLS * done // whole
    end = "\n" if done == whole else ""
    if sys.stderr.isatty() or end:
        sys.stderr.write(f"\r[{'#' * cells}{'.' * (BAR_CELLS - cells)}] {done}/{whole} nodes{end}")
        sys.stderr.flush()


# --------------------------------------------------------------------------------------------------------- command line


def parser() -> argparse.ArgumentParser:
    """Return the parser of what follows `cache`."""
    top = argparse.ArgumentParser(
        prog="image-service-operator cache",
        description="Look into the caches of nodes, and act on them. The rights it takes: get and list cachepolicies "
        "and endpointslices, get daemonsets and secrets, all verbs on pods/proxy.",
    )
    actions = top.add_subparsers(metavar="ACTION", required=True)
    image: dict[str, Any] = {"metavar": "IMAGE", "help": "id of the image"}
    node: dict[str, Any] = {"metavar": "NODE", "help": "only on this node"}

    told = _action(actions, "status", status, "how full the caches are, and what they are doing")
    told.add_argument("--node", **node)
    listed = _action(actions, "list", list_images, "what is cached, and what is in Glance's queue")
    listed.add_argument("--node", **node)
    found = _action(actions, "where", where, "which nodes hold an image")
    found.add_argument("image", **image)

    queued = _action(actions, "queue", queue, "put an image into Glance's queue, or take it out")
    queued.add_argument("image", nargs="?", **image)
    queued.add_argument("--node", **node)
    queued.add_argument("--delete", action="store_true", help="take the image out of the queue")
    queued.add_argument("--delete-all", action="store_true", dest="all", help="take all images out of the queue")
    queued.add_argument("--wait", action="store_true", help="until the image is cached")
    queued.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="of --wait (3600)")

    evicted = _action(actions, "evict", evict, "throw an image out of the cache")
    evicted.add_argument("image", nargs="?", **image)
    evicted.add_argument("--node", **node)
    evicted.add_argument("--all", action="store_true", help="all images, but for those that an ImagePrecache wants")
    evicted.add_argument("--force", action="store_true", help="also what an ImagePrecache wants: it is fetched again")
    return top


def _action(actions: Any, name: str, act: Callable[..., Any], words: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = actions.add_parser(name, help=words, description=f"Tell or change {words}.")
    added.add_argument("--kubeconfig", metavar="FILE", help="default: $KUBECONFIG")
    added.add_argument("--context", help="context of the kubeconfig (default: its current one)")
    added.add_argument("-n", "--namespace", default="default", help="namespace of the CachePolicies (default)")
    added.add_argument("--policy", metavar="NAME", help="only of this CachePolicy")
    added.set_defaults(act=act)
    return added


async def run(options: argparse.Namespace) -> None:
    """Do the action. Raise NotDone where that cannot be."""
    if hasattr(options, "image") and not options.image and not getattr(options, "all", False):
        raise NotDone("Name an image.")
    try:
        async with _caches(options) as caches:
            await options.act(caches, options)
    except AgentError as error:
        raise NotDone(f"{error.message[:1].upper()}{error.message[1:]}.") from error
    except ApiError as error:
        raise NotDone(f"The API server refuses: {error}") from error


@asynccontextmanager
async def _caches(options: argparse.Namespace) -> AsyncIterator[Caches]:
    connection = await Connection.open(options.kubeconfig, options.context)
    kube = KubeApi(connection)
    try:
        async with connection.session(connections=_CONNECTIONS) as session:
            yield Caches(kube, session, connection.server, options.namespace)
    finally:
        await kube.close()
