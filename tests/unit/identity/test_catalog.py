"""The plan for the service catalogue: tables of what was found and what is wanted."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageservice.identity.catalog import Action, CatalogEntry, Entry, Owner, choose_service, plan, removal_plan
from imageservice.identity.errors import IdentityError, Reason

GLANCE = Owner("uid-1", "images/glance")
OTHER = Owner("uid-2", "images/other")
REBORN = Owner("uid-3", "images/glance")
PUBLIC = CatalogEntry("public", "RegionOne", "https://image.example")
INTERNAL = CatalogEntry("internal", "RegionOne", "http://glance-api.images.svc:9292")
WANTED = (PUBLIC, INTERNAL)
SERVICE = {"id": "s1", "type": "image", "name": "glance", "enabled": True, "managed_by": "image-service-operator"}
FOREIGN_SERVICE = {"id": "s0", "type": "image", "name": "glance", "enabled": True}


def endpoint(entry_id: str, wanted: CatalogEntry, owner: Owner | None, **changes: object) -> Entry:
    mark = owner.mark if owner else {}
    place = {"interface": wanted.interface, "region_id": wanted.region}
    return {"id": entry_id, "service_id": "s1", "enabled": True, "url": wanted.url, **place, **mark, **changes}


RIGHT = [endpoint("e1", PUBLIC, GLANCE), endpoint("e2", INTERNAL, GLANCE)]


def applied(
    services: Sequence[Entry], endpoints: Sequence[Entry], actions: Sequence[Action]
) -> tuple[list[Entry], list[Entry]]:
    """Return the catalogue after the actions, as Keystone would have it."""
    state: dict[str, dict[str, Entry]] = {
        "service": {entry["id"]: dict(entry) for entry in services},
        "endpoint": {entry["id"]: dict(entry) for entry in endpoints},
    }
    created = ""
    for number, action in enumerate(actions):
        if action.verb == "delete":
            assert action.entry_id
            del state[action.kind][action.entry_id]
            if action.kind == "service":
                left = {k: v for k, v in state["endpoint"].items() if v["service_id"] != action.entry_id}
                state["endpoint"] = left
        elif action.verb == "update":
            assert action.entry_id
            state[action.kind][action.entry_id].update(action.attributes)
        else:
            new_id = f"new-{number}"
            default = {"service_id": created} if action.kind == "endpoint" else {}
            created = new_id if action.kind == "service" else created
            state[action.kind][new_id] = {**default, **action.attributes, "id": new_id}
    return list(state["service"].values()), list(state["endpoint"].values())


def test_an_empty_catalogue_gets_one_service_and_its_two_endpoints() -> None:
    services, endpoints = applied([], [], plan([], [], WANTED, GLANCE))
    assert [(entry["type"], entry["name"], entry["enabled"]) for entry in services] == [("image", "glance", True)]
    assert [(entry["service_id"], entry["interface"], entry["url"]) for entry in endpoints] == [
        (services[0]["id"], "public", PUBLIC.url),
        (services[0]["id"], "internal", INTERNAL.url),
    ]


def test_a_right_catalogue_needs_no_write() -> None:
    assert plan([SERVICE], RIGHT, WANTED, GLANCE) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"url": "http://wrong"}, "`url`"),
        ({"enabled": False}, "`enabled`"),
        ({"url": "http://wrong", "enabled": False}, "`url`, `enabled`"),
    ],
)
def test_an_edited_endpoint_of_ours_is_repaired(changes: Entry, told: str) -> None:
    found = [endpoint("e1", PUBLIC, GLANCE, **changes), RIGHT[1]]
    actions = plan([SERVICE], found, WANTED, GLANCE)
    assert applied([SERVICE], found, actions)[1] == RIGHT
    assert [action.sentence for action in actions] == [
        f"repaired {told} of the public endpoint of region RegionOne at {PUBLIC.url}"
    ]


def test_a_duplicate_of_ours_is_deleted_and_the_right_one_stays() -> None:
    found = [endpoint("e0", PUBLIC, GLANCE, enabled=False), *RIGHT]
    assert applied([SERVICE], found, plan([SERVICE], found, WANTED, GLANCE))[1] == RIGHT


def test_an_endpoint_of_ours_in_a_region_left_behind_is_deleted() -> None:
    old = endpoint("e0", CatalogEntry("public", "Old", PUBLIC.url), GLANCE)
    assert applied([SERVICE], [old, *RIGHT], plan([SERVICE], [old, *RIGHT], WANTED, GLANCE))[1] == RIGHT


def test_a_second_region_shares_the_service_and_leaves_the_first_alone() -> None:
    wanted = [CatalogEntry("public", "RegionTwo", "https://two.example")]
    services, endpoints = applied([SERVICE], RIGHT, plan([SERVICE], RIGHT, wanted, OTHER))
    assert services == [SERVICE]
    assert endpoints[:2] == RIGHT
    assert [(entry["region_id"], entry["service_id"], entry["url"]) for entry in endpoints[2:]] == [
        ("RegionTwo", "s1", "https://two.example")
    ]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (endpoint("e9", PUBLIC, None, url="http://theirs"), "not made by this operator"),
        (endpoint("e9", PUBLIC, OTHER, url="http://theirs"), "made for ImageService images/other"),
        (endpoint("e9", PUBLIC, REBORN, url="http://theirs"), "made for ImageService images/glance"),
        (endpoint("e9", PUBLIC, None, enabled=False), "disabled"),
    ],
)
def test_an_entry_of_somebody_else_is_a_conflict_that_names_it_and_the_cure(found: Entry, told: str) -> None:
    with pytest.raises(IdentityError) as caught:
        plan([SERVICE], [found], WANTED, GLANCE)
    assert caught.value.reason == Reason.ENDPOINT_CONFLICT
    for part in ("e9", found["url"], told, "openstack endpoint delete e9"):
        assert part in caught.value.message


@pytest.mark.parametrize("url", [PUBLIC.url, PUBLIC.url + "/"])
def test_an_entry_of_somebody_else_that_says_the_same_is_used_and_never_deleted(url: str) -> None:
    found = [endpoint("e9", PUBLIC, None, url=url)]
    services, endpoints = applied([FOREIGN_SERVICE], found, plan([FOREIGN_SERVICE], found, WANTED, GLANCE))
    assert [entry["interface"] for entry in endpoints] == ["public", "internal"]
    assert applied(services, endpoints, removal_plan(services, endpoints, GLANCE)) == ([FOREIGN_SERVICE], found)


def test_the_entries_of_a_deleted_service_of_the_same_name_are_taken_over() -> None:
    services, endpoints = applied([SERVICE], RIGHT, plan([SERVICE], RIGHT, WANTED, REBORN))
    assert plan(services, endpoints, WANTED, REBORN) == []
    assert applied(services, endpoints, removal_plan(services, endpoints, REBORN)) == ([], [])


def test_a_disabled_service_of_ours_is_enabled() -> None:
    found = [{**SERVICE, "enabled": False}]
    assert applied(found, RIGHT, plan(found, RIGHT, WANTED, GLANCE)) == ([SERVICE], RIGHT)


def test_a_disabled_service_of_somebody_else_is_a_conflict() -> None:
    with pytest.raises(IdentityError, match="openstack service set --enable s0") as caught:
        plan([{**FOREIGN_SERVICE, "enabled": False}], [], WANTED, GLANCE)
    assert caught.value.reason == Reason.ENDPOINT_CONFLICT


def test_two_services_made_at_once_grow_together_again() -> None:
    twin = {**SERVICE, "id": "s2"}
    elsewhere = CatalogEntry("public", "RegionTwo", "https://two.example")
    services, endpoints = [SERVICE, twin], [*RIGHT, endpoint("e3", elsewhere, OTHER, service_id="s2")]
    for wanted, owner in ((WANTED, GLANCE), ((elsewhere,), OTHER)):
        services, endpoints = applied(services, endpoints, plan(services, endpoints, wanted, owner))
    assert services == [SERVICE]
    assert {entry["service_id"] for entry in endpoints} == {"s1"}
    assert len(endpoints) == 3


def test_removal_takes_only_what_was_made_for_the_owner() -> None:
    elsewhere = endpoint("e3", CatalogEntry("public", "RegionTwo", "https://two.example"), OTHER)
    found = [*RIGHT, elsewhere]
    assert applied([SERVICE], found, removal_plan([SERVICE], found, GLANCE)) == ([SERVICE], [elsewhere])
    assert applied([SERVICE], [elsewhere], removal_plan([SERVICE], [elsewhere], OTHER)) == ([], [])


def test_removal_leaves_the_service_that_somebody_else_made() -> None:
    found = [endpoint("e1", PUBLIC, GLANCE, service_id="s0")]
    assert applied([FOREIGN_SERVICE], found, removal_plan([FOREIGN_SERVICE], found, GLANCE)) == ([FOREIGN_SERVICE], [])


def test_every_owner_chooses_the_same_service_whatever_the_order() -> None:
    services = [
        FOREIGN_SERVICE,
        SERVICE,
        {**SERVICE, "id": "s2", "enabled": False},
        {**FOREIGN_SERVICE, "id": "s3", "name": "x"},
    ]
    chosen = {(choose_service(order, RIGHT) or {}).get("id") for order in itertools.permutations(services)}
    assert chosen == {"s1"}


OWNERS = st.sampled_from([None, GLANCE, OTHER, REBORN])
PLACES = st.sampled_from([*WANTED, CatalogEntry("public", "RegionTwo", "https://two.example")])
URLS = st.sampled_from([PUBLIC.url, INTERNAL.url, "http://wrong"])
SERVICES = st.lists(
    st.builds(
        lambda base, key, enabled: {**base, "id": key, "enabled": enabled},
        st.sampled_from([SERVICE, FOREIGN_SERVICE]),
        st.sampled_from(["s1", "s2", "s3"]),
        st.booleans(),
    ),
    unique_by=lambda entry: entry["id"],
)


@given(SERVICES, st.lists(st.tuples(PLACES, OWNERS, URLS, st.booleans(), st.integers(0, 2)), max_size=6))
def test_one_pass_makes_any_catalogue_right_or_names_a_conflict(
    services: list[Entry], seeds: list[tuple[CatalogEntry, Owner | None, str, bool, int]]
) -> None:
    endpoints = [
        endpoint(f"e{number}", place, owner, url=url, enabled=enabled, service_id=services[at % len(services)]["id"])
        for number, (place, owner, url, enabled, at) in enumerate(seeds if services else [])
    ]
    actions = planned(services, endpoints)
    if actions is None:
        in_the_way = [entry for entry in endpoints if entry.get("managed_for_uid") != GLANCE.uid]
        assert in_the_way or any(not entry["enabled"] for entry in services)
        return
    after = applied(services, endpoints, actions)
    assert planned(*after) == []
    theirs = [entry for entry in endpoints if entry.get("managed_for") != GLANCE.name]
    assert [entry for entry in after[1] if entry in theirs] == theirs
    served = {(entry["region_id"], entry["interface"]) for entry in after[1] if entry["enabled"]}
    assert {(entry.region, entry.interface) for entry in WANTED} <= served


def planned(services: Sequence[Entry], endpoints: Sequence[Entry]) -> list[Action] | None:
    """Return the plan, or None for a conflict."""
    try:
        return plan(services, endpoints, WANTED, GLANCE)
    except IdentityError:
        return None
