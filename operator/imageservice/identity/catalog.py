"""What has to be done to the service catalogue: pure, from what was found and what is wanted.

The rules, in short. There is one service of type `image`, shared by all regions and all ImageServices. Each wanted
(region, interface) has one endpoint. What we made carries a mark; only that is ever changed or deleted. An entry of
somebody else in our place is used where it says what we would have said, and is a conflict otherwise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from imageservice.identity.errors import IdentityError, Reason

SERVICE_TYPE = "image"
SERVICE_NAME = "glance"
MANAGER = "image-service-operator"

# Keystone keeps attributes that it does not know, on services and on endpoints, and a change of one attribute leaves
# the others alone. Those of endpoints are seen by everyone who can see the catalogue: nothing confidential here.
MANAGED_BY = "managed_by"
OWNER_NAME = "managed_for"
OWNER_UID = "managed_for_uid"

Entry = dict[str, Any]


@dataclass(frozen=True)
class CatalogEntry:
    """One endpoint that has to be in the catalogue."""

    interface: Literal["public", "internal"]
    region: str
    url: str


@dataclass(frozen=True)
class Owner:
    """The ImageService on whose behalf entries are made: its `metadata.uid`, and `namespace/name`."""

    uid: str
    name: str

    @property
    def mark(self) -> Entry:
        """The attributes by which an endpoint of this owner is known."""
        return {MANAGED_BY: MANAGER, OWNER_NAME: self.name, OWNER_UID: self.uid}


@dataclass(frozen=True)
class Action:
    """One write to Keystone. `sentence` tells it to people: what is done and why.

    `entry_id` is None for what is created. An endpoint to be created without `service_id` belongs to the service that
    an earlier action of the same plan creates.
    """

    verb: Literal["create", "update", "delete"]
    kind: Literal["service", "endpoint"]
    entry_id: str | None
    attributes: Entry
    sentence: str


def plan(
    services: Sequence[Entry], endpoints: Sequence[Entry], wanted: Sequence[CatalogEntry], owner: Owner
) -> list[Action]:
    """Return the writes, in order, that make the catalogue right; none where it is right.

    `services` are those of type `image`, `endpoints` all those of these services. Raises IdentityError
    (EndpointConflict) where an entry of somebody else is in the way.
    """
    service = choose_service(services, endpoints)
    actions = _service_actions(service)
    for entry in wanted:
        actions += _endpoint_actions(entry, service, endpoints, owner)
    places = {(entry.region, entry.interface) for entry in wanted}
    stale = [found for found in endpoints if _owned(found, owner) and _place(found) not in places]
    actions += [_delete_endpoint(found, "is no longer wanted") for found in stale]
    leaving = {action.entry_id for action in actions if action.verb == "delete" or "service_id" in action.attributes}
    actions += [
        _delete_service(other, "is a second, empty one")
        for other in services
        if service and other["id"] != service["id"] and _is_ours_and_empty(other, endpoints, leaving)
    ]
    return actions


def removal_plan(services: Sequence[Entry], endpoints: Sequence[Entry], owner: Owner) -> list[Action]:
    """Return the writes that take out what was made for `owner`, and the service once nothing is left on it."""
    mine = [found for found in endpoints if _owned(found, owner)]
    leaving: set[str | None] = {found["id"] for found in mine}
    return [_delete_endpoint(found, f"belonged to {owner.name}") for found in mine] + [
        _delete_service(service, "has no endpoint left")
        for service in services
        if _is_ours_and_empty(service, endpoints, leaving)
    ]


def choose_service(services: Sequence[Entry], endpoints: Sequence[Entry]) -> Entry | None:
    """Return the image service to use. Every owner chooses the same one, so that duplicates grow together again."""
    in_use = {found.get("service_id") for found in endpoints}
    return min(
        services,
        key=lambda found: (
            not found.get("enabled", True),
            found.get("name") != SERVICE_NAME,
            found["id"] not in in_use,
            found["id"],
        ),
        default=None,
    )


def _service_actions(service: Entry | None) -> list[Action]:
    if service is None:
        attributes = {
            "type": SERVICE_TYPE,
            "name": SERVICE_NAME,
            "description": "OpenStack Image service",
            "enabled": True,
            MANAGED_BY: MANAGER,
        }
        return [Action("create", "service", None, attributes, f"created service {SERVICE_NAME} ({SERVICE_TYPE})")]
    right = {"enabled": True, "name": SERVICE_NAME} if _managed(service) else {"enabled": True}
    wrong = {key: value for key, value in right.items() if service.get(key, value) != value}
    if not wrong:
        return []
    if not _managed(service):
        raise IdentityError(
            Reason.ENDPOINT_CONFLICT,
            f"the image service {service['id']} in Keystone's catalogue is disabled and was not made by this operator: "
            f"enable it (`openstack service set --enable {service['id']}`) or delete it",
        )
    return [Action("update", "service", service["id"], wrong, f"repaired {_words(wrong)} of service {service['id']}")]


def _endpoint_actions(
    entry: CatalogEntry, service: Entry | None, endpoints: Iterable[Entry], owner: Owner
) -> list[Action]:
    """Return what makes one (region, interface) right."""
    here = sorted(
        (found for found in endpoints if _place(found) == (entry.region, entry.interface)),
        key=lambda found: (not _owned(found, owner), not found.get("enabled", True), found["id"]),
    )
    mine = [found for found in here if _owned(found, owner)]
    others = [found for found in here if not _owned(found, owner)]
    for other in others:
        _refuse_conflict(other, entry, owner)
    right = {"url": entry.url, "enabled": True, **({"service_id": service["id"]} if service else {})}
    if mine:
        return _repair(mine[0], right) + [_delete_endpoint(found, "is a duplicate") for found in mine[1:]]
    inherited = [found for found in others if found.get(OWNER_NAME) == owner.name and _managed(found)]
    if inherited:
        return _repair(inherited[0], {**right, **owner.mark})
    if others:
        return []
    attributes = {"interface": entry.interface, "region_id": entry.region, **right, **owner.mark}
    return [
        Action(
            "create", "endpoint", None, attributes, f"created the {_named(entry.interface, entry.region, entry.url)}"
        )
    ]


def _refuse_conflict(found: Entry, entry: CatalogEntry, owner: Owner) -> None:
    """Raise where an endpoint that is not the owner's says something else than ours would."""
    if _same_url(found.get("url"), entry.url) and found.get("enabled", True):
        return
    if _same_url(found.get("url"), entry.url) and found.get(OWNER_NAME) == owner.name and _managed(found):
        return
    state = "" if found.get("enabled", True) else ", disabled"
    maker = f"made for ImageService {found.get(OWNER_NAME)}" if _managed(found) else "not made by this operator"
    raise IdentityError(
        Reason.ENDPOINT_CONFLICT,
        f"Keystone's catalogue already has the {_named(entry.interface, entry.region, found.get('url'))} "
        f"(id {found['id']}{state}, {maker}), where {entry.url} is wanted: delete it "
        f"(`openstack endpoint delete {found['id']}`) and it is made anew, or set `spec.identity.catalog.register` "
        "to false",
    )


def _repair(found: Entry, right: Entry) -> list[Action]:
    wrong = {key: value for key, value in right.items() if found.get(key) != value}
    if not wrong:
        return []
    named = _named(found["interface"], found["region_id"], right["url"])
    return [Action("update", "endpoint", found["id"], wrong, f"repaired {_words(wrong)} of the {named}")]


def _delete_endpoint(found: Entry, why: str) -> Action:
    named = _named(found.get("interface"), found.get("region_id"), found.get("url"))
    return Action("delete", "endpoint", found["id"], {}, f"deleted the {named}: it {why}")


def _delete_service(found: Entry, why: str) -> Action:
    return Action("delete", "service", found["id"], {}, f"deleted service {found['id']} ({SERVICE_TYPE}): it {why}")


def _is_ours_and_empty(service: Entry, endpoints: Iterable[Entry], leaving: set[str | None]) -> bool:
    left = [found for found in endpoints if found.get("service_id") == service["id"] and found["id"] not in leaving]
    return _managed(service) and not left


def _managed(found: Entry) -> bool:
    return found.get(MANAGED_BY) == MANAGER


def _owned(found: Entry, owner: Owner) -> bool:
    return _managed(found) and found.get(OWNER_UID) == owner.uid


def _place(found: Entry) -> tuple[object, object]:
    return found.get("region_id"), found.get("interface")


def _same_url(found: object, wanted: str) -> bool:
    return isinstance(found, str) and found.rstrip("/") == wanted.rstrip("/")


def _named(interface: object, region: object, url: object) -> str:
    return f"{interface} endpoint of region {region} at {url}"


def _words(attributes: Iterable[str]) -> str:
    marks = {MANAGED_BY, OWNER_NAME, OWNER_UID}
    words = [key for key in attributes if key not in marks]
    if marks & set(attributes):
        words.append("owner")
    return ", ".join(f"`{word}`" for word in words)
