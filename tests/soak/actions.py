"""What happens in a soak, drawn by chance: changes by users, edits of children, faults, kills and reads."""

import base64
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.api_client import Manifest, Refused
from tests.faults.faults import (
    ALL,
    LISTS,
    WATCHES,
    WRITES,
    BlackHole,
    DelayEvents,
    DropEvents,
    ExpireWatch,
    Late,
    Refuse,
    RepeatEvents,
    Reset,
    Silence,
)
from tests.faults.proxy import Fault
from tests.faults.scenarios import OWN_KINDS
from tests.integration.objects import API, image_service, image_store
from tests.soak.sides import USER, Side

Action = Callable[[random.Random, Side], object]

_OPTIONS = ("image_size_cap", "limit_param_default", "api_limit_max", "image_member_quota")

_EDITS: dict[str, tuple[Manifest, ...]] = {
    "DaemonSet": ({"minReadySeconds": 9}, {"template": {"spec": {"terminationGracePeriodSeconds": 5}}}),
    "Deployment": ({"replicas": 7}, {"template": {"spec": {"terminationGracePeriodSeconds": 5}}}),
    "Service": ({"selector": {"app": "hijacked"}},),
}


def good(chance: random.Random) -> tuple[Manifest, ...]:
    """Return a spec that becomes Ready: an ImageService, its stores and caches, different each time."""
    options = {name: str(chance.randrange(100, 900)) for name in chance.sample(_OPTIONS, chance.randrange(3))}
    spec: dict[str, Any] = {
        "release": chance.choice(("2025.1", "2025.2", "2026.1", "2026.2")),
        "defaultStore": "central",
        "api": {"replicas": chance.randrange(1, 4), "processes": chance.randrange(1, 4)},
    }
    spec |= {"extraConfig": {"DEFAULT": options}} if options else {}
    stores = [image_store("central"), *([_nfs_store("second")] if chance.random() < 0.5 else [])]
    return (*stores, image_service(None, **spec), *(_caches(chance) if chance.random() < 0.6 else []))


def _caches(chance: random.Random) -> list[Manifest]:
    target = {"kind": "ImageService", "name": "glance"}
    node = {"kubernetes.io/hostname": f"fake-{chance.randrange(1, 4)}"}
    policy = {"targetRef": target, "nodeSelector": node, "maxSize": f"{chance.randrange(10, 90)}Gi"}
    names = chance.sample(("ubuntu", "debian", "fedora", "alma"), chance.randrange(1, 4))
    images = {"images": [{"name": name} for name in names], "suspend": chance.random() < 0.2}
    precache = {"imageServiceRef": {"name": "glance"}} | images
    found = [("CachePolicy", "nodes", policy), ("ImagePrecache", "golden", precache)]
    return [
        {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}
        for kind, name, spec in found[: chance.randrange(1, 3)]
    ]


def bring(side: Side, namespace: str, wanted: tuple[Manifest, ...]) -> None:
    """Make our objects in a namespace be just these."""
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in wanted}
    for kind in OWN_KINDS:
        for live in side.api.list(kind, namespace):
            if (kind, live["metadata"]["name"]) not in names:
                side.api.delete(live)
    for manifest in wanted:
        side.api.apply(side.at_home(namespace, manifest), manager=USER)


def _change(chance: random.Random, side: Side) -> None:
    bring(side, chance.choice(side.namespaces), good(chance))


def _break_the_spec(chance: random.Random, side: Side) -> None:
    odd = chance.choice(({"defaultStore": "nowhere"}, {"extraConfig": {"DEFAULT": {"no_such_option": "1"}}}))
    service = image_service(None, **({"api": {"replicas": 1}} | odd))
    side.api.apply(side.at_home(chance.choice(side.namespaces), service), manager=USER)


def _delete_something_of_the_users(chance: random.Random, side: Side) -> None:
    namespace = chance.choice(side.namespaces)
    found = [item for kind in OWN_KINDS for item in side.api.list(kind, namespace)]
    if found:
        side.api.delete(chance.choice(found))


def _delete_a_child(chance: random.Random, side: Side) -> None:
    found = side.children(chance.choice(side.namespaces))
    if found:
        side.api.delete(chance.choice(found))


def _edit_a_child(chance: random.Random, side: Side) -> None:
    found = [item for item in side.children(chance.choice(side.namespaces)) if item["kind"] in _EDITS]
    if not found:
        return
    child = chance.choice(found)
    side.api.merge(child, {"spec": chance.choice(_EDITS[child["kind"]])}, manager="somebody")


def _change_a_secret(chance: random.Random, side: Side) -> None:
    url = f"mysql+pymysql://glance:{chance.randrange(10**6)}@mariadb:3306/glance"
    live = side.api.get("Secret", chance.choice(side.namespaces), "glance-db")
    side.api.merge(live, {"data": {"url": base64.b64encode(url.encode()).decode()}}, manager=USER)


def _have_other_agents(chance: random.Random, side: Side) -> None:
    side.programs.behave(chance.choice(side.namespaces), chance.choice(("full", "silent", "babbling", "ignorant")))


def _read(chance: random.Random, side: Side) -> None:
    for kind in (*OWN_KINDS, "Deployment"):
        side.api.list(kind, chance.choice(side.namespaces))


CHANGES: tuple[tuple[int, Action], ...] = (
    (6, _change),
    (2, _break_the_spec),
    (2, _delete_something_of_the_users),
    (5, _delete_a_child),
    (4, _edit_a_child),
    (3, _change_a_secret),
    (1, _have_other_agents),
    (4, _read),
)
"""How often, in proportion, and what."""


def faults(chance: random.Random) -> tuple[Fault, ...]:
    """Return a fault, drawn by chance, to be healed after some seconds."""
    several = chance.randrange(3, 30)
    black_hole = BlackHole(where=chance.choice((WATCHES, ALL)))
    choices: tuple[Fault, ...] = (
        *(Refuse(WRITES, times=several, status=status) for status in (409, 422, 500, 503)),
        Refuse(ALL, times=several, status=429, retry_after=1),
        Refuse(LISTS, times=several, status=500),
        Reset(ALL, times=several),
        Reset(WRITES, times=several, reached=True),
        Silence(ALL, times=2),
        Late(ALL, times=several, seconds=2.0),
        DropEvents(every=2),
        DelayEvents(seconds=1.5),
        RepeatEvents(),
        ExpireWatch(after_events=3),
        black_hole,
    )
    return (chance.choice(choices),)


def one_change(chance: random.Random, side: Side) -> str:
    """Do one thing and return its name. What is refused because things moved meanwhile is no matter."""
    weights, actions = zip(*CHANGES, strict=True)
    [action] = chance.choices(actions, weights)
    with suppress(Refused):
        action(chance, side)
    return action.__name__.strip("_").replace("_", " ")


def _nfs_store(name: str) -> Manifest:
    volume = {"type": "NFS", "nfs": {"server": "nfs.example", "path": f"/exports/{name}"}}
    return image_store(name, filesystem={"volume": volume})
