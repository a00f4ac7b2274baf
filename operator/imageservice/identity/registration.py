"""Make the service catalogue say what it should, and take out again what was made: the acts to `catalog.py`'s plans."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from imageservice.identity import catalog
from imageservice.identity.catalog import Action, CatalogEntry, Entry, Owner
from imageservice.identity.errors import IdentityError, Reason
from imageservice.identity.keystone import Keystone, connect, shown
from imageservice.identity.recent import Recent, key_of
from imageservice.render.inputs import Credentials

DEADLINE_SECONDS = 60
"""How long a whole registration may take, all its requests together."""
MOST_LOOKS = 4
"""How often one registration looks at the catalogue at most: it ends with the first look that finds it right."""


@dataclass(frozen=True)
class CatalogState:
    """The catalogue after a registration: the id of the service, and a sentence for each write that was needed.

    `changes` is empty where everything was right; it tells of a write once, in the call that made it.
    """

    service_id: str
    changes: tuple[str, ...] = ()


_REGISTERED: Recent[str] = Recent()
_TURNS: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


async def ensure_catalog(
    auth_url: str,
    admin_credentials: Credentials,
    wanted: Sequence[CatalogEntry],
    owner: Owner,
    *,
    recent: Recent[str] = _REGISTERED,
) -> CatalogState:
    """Create or repair the service, the regions and the wanted endpoints; write nothing where all is right.

    What was found right is not looked at again for a while (`recent.py`). After a write it looks once more: another
    process may have made the same entries at the same time, and the later of the two finds both. Raises IdentityError.
    """
    changes: list[str] = []

    async def ask() -> str:
        async with _turn(auth_url, admin_credentials) as keystone:
            created = ""
            for _ in range(MOST_LOOKS):
                services, endpoints = await _observe(keystone)
                actions = catalog.plan(services, endpoints, wanted, owner)
                if not actions:
                    break
                await _ensure_regions(keystone, actions, changes)
                created = await _carry_out(keystone, actions, changes)
            chosen = catalog.choose_service(services, endpoints)
            return chosen["id"] if chosen else created

    service_id = await recent.get(key_of(auth_url, admin_credentials, tuple(wanted), owner), ask)
    return CatalogState(service_id, tuple(changes))


async def remove_catalog(
    auth_url: str, admin_credentials: Credentials, owner: Owner, *, recent: Recent[str] = _REGISTERED
) -> list[str]:
    """Delete the endpoints made for `owner`, in whatever region, and the service if we made it and nothing is left.

    Regions stay: others may have come to use them. Returns a sentence for each deletion; none where nothing was left.
    Raises IdentityError.
    """
    changes: list[str] = []
    recent.clear()  # or a registration switched on again soon would be taken as already done
    async with _turn(auth_url, admin_credentials) as keystone:
        services, endpoints = await _observe(keystone)
        await _carry_out(keystone, catalog.removal_plan(services, endpoints, owner), changes)
    return changes


@asynccontextmanager
async def _turn(auth_url: str, admin_credentials: Credentials) -> AsyncIterator[Keystone]:
    """Give the client when no other registration at this Keystone is under way; all within the deadline.

    Keystone has no unique key over services: two first registrations at once would create two of them.
    """
    lock = _TURNS.setdefault(auth_url, asyncio.Lock())
    try:
        async with asyncio.timeout(DEADLINE_SECONDS), lock, connect(auth_url, admin_credentials) as keystone:
            yield keystone
    except TimeoutError as error:
        message = f"Keystone at {shown(auth_url)} took more than {DEADLINE_SECONDS} s for the catalogue"
        raise IdentityError(Reason.KEYSTONE_UNREACHABLE, message) from error


async def _observe(keystone: Keystone) -> tuple[list[Entry], list[Entry]]:
    """Return the services of our type and all their endpoints."""
    services = await keystone.services(catalog.SERVICE_TYPE)
    return services, [endpoint for service in services for endpoint in await keystone.endpoints(service["id"])]


async def _ensure_regions(keystone: Keystone, actions: Sequence[Action], changes: list[str]) -> None:
    """Create the regions that new endpoints need: Keystone refuses an endpoint whose `region_id` it does not know."""
    for region in sorted({action.attributes["region_id"] for action in actions if "region_id" in action.attributes}):
        if not await keystone.region_exists(region):
            await keystone.create("region", {"id": region})
            changes.append(f"created region {region}")


async def _carry_out(keystone: Keystone, actions: Sequence[Action], changes: list[str]) -> str:
    """Do the writes in order, each told in `changes` once done. Returns the id of the service created, or ""."""
    created = ""
    for action in actions:
        if action.verb == "delete" and action.entry_id:
            await keystone.delete(action.kind, action.entry_id)
        elif action.verb == "update" and action.entry_id:
            await keystone.update(action.kind, action.entry_id, action.attributes)
        elif action.kind == "service":
            created = (await keystone.create("service", action.attributes))["id"]
        else:
            await keystone.create("endpoint", {"service_id": created, **action.attributes})
        changes.append(action.sentence)
    return created
