"""Bring the children of one object to what is wanted: the same few steps for every kind of child."""

from collections.abc import Callable

from imageservice.api.vocabulary import ACCEPTED
from imageservice.errors import Blocked, Retry
from imageservice.manifest import Manifest
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.kinds import Kind
from imageservice.runtime.kube import Forbidden, Invalid

GARBAGE_COLLECTION_SECONDS = 2.0
FORBIDDEN_SECONDS = 30.0


def controller(manifest: Manifest) -> Manifest | None:
    """Return the owner reference of the object's controller, if it has one."""
    references = manifest["metadata"].get("ownerReferences", [])
    return next((reference for reference in references if reference.get("controller")), None)


def is_controlled_by(manifest: Manifest, owner: Manifest) -> bool:
    """Tell whether `owner` is the controller of the object: by uid, for names come again."""
    reference = controller(manifest)
    return reference is not None and reference.get("uid") == owner["metadata"]["uid"]


async def read_own(
    kube: CachedKube, kind: Kind, owner: Manifest, name: str, *, unique: bool = False
) -> Manifest | None:
    """Return the child `name` of `owner`, or None. `unique`: the name is one that nobody else can have hit upon.

    Raise Blocked where an object of that name belongs to somebody else (it is never taken over), Retry where it is on
    its way out, or belonged to an earlier object of the owner's name and waits for the garbage collector.
    """
    get = kube.get_unique if unique else kube.get
    live = await get(kind, owner["metadata"]["namespace"], name)
    if live is None:
        return None
    reference = controller(live)
    if is_controlled_by(live, owner):
        if live["metadata"].get("deletionTimestamp"):
            raise _wait(kind, name)
        return live
    if reference is not None and (reference.get("kind"), reference.get("name")) == (
        owner["kind"],
        owner["metadata"]["name"],
    ):
        raise _wait(kind, name)
    raise Blocked(
        ACCEPTED,
        "NameTaken",
        f"There is a {kind.kind} `{name}` that does not belong to this {owner['kind']}. It is left alone: "
        "delete or rename it, or give this object another name.",
    )


def _wait(kind: Kind, name: str) -> Retry:
    return Retry(GARBAGE_COLLECTION_SECONDS, ACCEPTED, "Deleting", f"The old {kind.kind} `{name}` is being deleted.")


async def ensure(kube: CachedKube, kind: Kind, owner: Manifest, wanted: Manifest, *, unique: bool = False) -> Manifest:
    """Create or repair one child of `owner`; nothing is written where it is as wanted. `unique`: see `read_own`."""
    live = await read_own(kube, kind, owner, wanted["metadata"]["name"], unique=unique)
    return await write(kube, kind, wanted, live)


async def write(kube: CachedKube, kind: Kind, wanted: Manifest, live: Manifest | None) -> Manifest:
    """Apply one child. A refusal by the API server is told in the owner's conditions, as only the user can mend it."""
    name = wanted["metadata"]["name"]
    try:
        return await kube.apply(kind, wanted, live=live)
    except Invalid as refusal:
        message = f"The API server refuses the {kind.kind} `{name}`: {refusal.message} Correct the spec."
        raise Blocked(ACCEPTED, "RefusedByAPIServer", message) from refusal
    except Forbidden as refusal:
        message = f"The API server forbids the {kind.kind} `{name}`: {refusal.message}"
        raise Retry(FORBIDDEN_SECONDS, ACCEPTED, "ForbiddenByAPIServer", message) from refusal


async def prune(kube: CachedKube, kind: Kind, owner: Manifest, labels: str, keep: Callable[[Manifest], bool]) -> None:
    """Delete the children of `owner` with these labels but those that `keep` says yes to."""
    for live in await kube.list_metadata(kind, owner["metadata"]["namespace"], labels=labels):
        if not keep(live) and is_controlled_by(live, owner) and not live["metadata"].get("deletionTimestamp"):
            await kube.delete(kind, live)


async def remove(kube: CachedKube, kind: Kind, owner: Manifest, name: str) -> None:
    """Delete the child `name` of `owner` if there is one; an object of somebody else is left alone."""
    live = kube.known(kind, owner["metadata"]["namespace"], name)
    if live is not None and is_controlled_by(live, owner) and not live["metadata"].get("deletionTimestamp"):
        await kube.delete(kind, live)
