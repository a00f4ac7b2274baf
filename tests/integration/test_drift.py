"""Somebody meddles with what the operator made: all of it is put right again, or left alone with a reason.

What there is to meddle with is found in the cluster: every object that the ImageService or its cache controls, every
field that the operator owns in it. A child of a later kind, or a field of a later release, needs no word here.
"""

import signal
import time
from collections.abc import Iterator

import pytest
from tests import caches_stand_in, keystone_stand_in
from tests.api_client import ApiClient, Manifest, Refused
from tests.integration.drift_fields import ONLY_VALUE, Field, Item, alone, in_table, other_values, sort_of
from tests.integration.drift_meddler import Meddler, changes_of, fields_of, no_roll_out, parts_of
from tests.integration.drift_world import (
    BOUND_SECONDS,
    BUCKET,
    FAR,
    MEDDLER,
    POLICY,
    PRECACHE,
    REPORTS,
    Ledger,
    World,
    caches,
    intent,
    stores,
)
from tests.integration.objects import Namespace
from tests.operator_process import running

pytestmark = [pytest.mark.cluster]

FINALIZER = "imageservice.dev/keystone-catalog"
FOREIGN = "x.example/foreign"
A_LIE = {"status": "False", "reason": "Lie", "message": "not true", "lastTransitionTime": "2020-01-01T00:00:00Z"}
FLAGS = ("default", "attached", "ready")
SITE = {"url": "http://theirs", "replicas": 9, "readyReplicas": 9, "ready": True, "rolledOut": True, "reason": "Lie"}
IMAGE = "3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54"
STATUS_EDITS = {
    "conditions": [[], [{"type": "Ready", **A_LIE}]],
    "fsid": ["00000000-0000-0000-0000-000000000000"],
    "bytesDone": [99],
    "bytesTotal": [99],
    "cache": [{"usedBytes": 99}],
    "endpoints": [[{"interface": "Public", "url": "https://not.example"}]],
    "failingNodes": [[{"node": "theirs", "imageID": IMAGE, "reason": "Lie", "message": "not true", "attempts": 9}]],
    "image": ["not.example/glance:1"],
    "imageServiceName": ["theirs"],
    "images": [[], [{"id": IMAGE, "cachedNodes": 9, "failedNodes": 9}]],
    "imagesTotal": [99],
    "nodes": [{"desired": 99}],
    "observedGeneration": [99],
    "progressPercent": [99],
    "readyReplicas": [99],
    "release": ["2025.1"],
    "replicas": [99],
    "revision": ["theirs"],
    "selector": ["app=theirs"],
    "sites": [[], [{"name": "theirs", "edge": True} | SITE]],
    "sitesReady": ["9/9"],
    "storeID": ["theirs"],
    "stores": [[], [{"name": "theirs", "id": "theirs", "type": "Filesystem"} | dict.fromkeys(FLAGS, True)]],
    "updatedReplicas": [99],
    "url": ["http://theirs"],
}
"""What the fields of a status are set to, each by itself."""
OURS = [("ImageService", "glance"), *(("ImageStore", name) for name in ("central", BUCKET, FAR))]
OURS += [("CachePolicy", POLICY), ("ImagePrecache", PRECACHE)]
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
LEAST_TRIED = 400
LONGER_THAN_MOST_LOOKS_SECONDS = 3.0
LONGER_THAN_ANY_LOOK_SECONDS = 6.0


@pytest.fixture(scope="module")
def world(control_plane, tmp_path_factory) -> Iterator[World]:
    control_plane.kubectl("apply", "--server-side", "-f", "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    log = tmp_path_factory.mktemp("drift") / "operator.log"
    with keystone_stand_in.running() as keystone:
        namespace = Namespace(control_plane, keystone)
        # The resync stays at its ten minutes: what is repaired here is repaired because it was noticed.
        settings = {"namespaces": namespace.name, "lease_name": namespace.name}
        with (
            caches_stand_in.running(REPORTS) as programs,
            running(control_plane, log, **settings, **programs.settings) as operator,
        ):
            namespace.apply(*stores(), *caches())
            namespace.quickstart(defaultStore="central")
            made = World(namespace, ApiClient(control_plane.kubeconfig), operator, Ledger())
            for kind, name in OURS:
                namespace.wait_ready(name, kind.lower())
            made.settle()
            yield made
        namespace.delete()


@pytest.fixture(autouse=True)
def _ends_as_it_began(world) -> Iterator[None]:
    """Begin and end each test with all Ready; where one did not, do not wait for it in each that follows."""
    assert not world.lost, "an earlier test left something not Ready"
    world.lost = True
    all_ready(world)
    yield
    all_ready(world)
    world.lost = False


def all_ready(world: World) -> None:
    """Wait until every object of ours is Ready."""
    for kind, name in OURS:
        world.wait_ready(kind, name)


@pytest.fixture(autouse=True, scope="class")
def _quiet_afterwards(world) -> Iterator[None]:
    yield
    world.settle()


class TestEveryField:
    def test_a_field_that_another_manager_changes_by_force_is_put_back(self, world):
        meddler = Meddler(world)
        with no_roll_out(world):
            for child in world.children():
                for field, value in changes_of(child):
                    meddler.edit(child, field, value)
        assert not meddler.wrong, meddler.report()

    def test_a_field_that_is_taken_away_is_put_back(self, world):
        meddler = Meddler(world)
        with no_roll_out(world):
            for child in world.children():
                for part in parts_of(child):
                    meddler.remove(child, part)
        assert not meddler.wrong, meddler.report()

    def test_an_item_of_a_list_that_is_renamed_is_put_back(self, world):
        """For the API server it is another item then, which stays where it does no harm to ours."""
        meddler = Meddler(world)
        with no_roll_out(world):
            for child in world.children():
                keys = [field for field in fields_of(child) if field.is_key]
                for field in keys:
                    for value in other_values(sort_of(child), field, field.value(child)):
                        meddler.replace(child, field, value)
                if keys:
                    meddler.start_over(child)
        assert not meddler.wrong, meddler.report()

    def test_all_fields_taken_over_at_once_are_put_back_at_once(self, world):
        with no_roll_out(world):
            for child in world.children():
                values = {f: value for f, value in changes_of(child) if not in_table(ONLY_VALUE, sort_of(child), f)}
                metadata = {field: value for field, value in values.items() if field.steps[0] == "metadata"}
                try:
                    world.api.apply(alone(child, values), manager=MEDDLER)
                except Refused as refusal:
                    assert "immutable" in refusal.message, refusal  # noqa: PT017
                    world.api.apply(alone(child, metadata), manager=MEDDLER)
                world.wait_repaired(child)


def part(*steps: str | Item) -> Field:
    return Field(steps)


def named(name: str) -> Item:
    return Item(f'{{"name":"{name}"}}')


POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", named("glance-api"))
INSTEAD = [
    ("Deployment", part("spec", "strategy"), {"type": "Recreate"}),
    ("Deployment", part(*POD, "volumes", named("tmp")), {"name": "tmp", "hostPath": {"path": "/etc"}}),
    (
        "Deployment",
        part(*POD, "volumes", named("store-central")),
        {"name": "store-central", "nfs": {"server": "nfs.example", "path": "/images"}},
    ),
    ("Deployment", part(*CONTAINER, "readinessProbe"), {"exec": {"command": ["true"]}}),
    ("Deployment", part(*CONTAINER, "lifecycle", "preStop"), {"sleep": {"seconds": 1}}),
    (
        "Deployment",
        part(*CONTAINER, "env", named("HOME")),
        {"name": "HOME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ),
    (
        "Deployment",
        part(*POD, "securityContext", "seccompProfile"),
        {"type": "Localhost", "localhostProfile": "theirs"},
    ),
    ("DaemonSet", part("spec", "updateStrategy"), {"type": "OnDelete"}),
    ("DaemonSet", part(*POD, "volumes", named("cache")), {"name": "cache", "hostPath": {"path": "/etc"}}),
    ("DaemonSet", part(*CONTAINER, "readinessProbe"), {"exec": {"command": ["true"]}}),
    ("PodDisruptionBudget", part("spec"), {"minAvailable": 2}),
    ("Service", part("spec", "type"), "LoadBalancer"),
]
"""What may stand in the place of something of ours, but not beside it: the API server would refuse the two together."""


def test_something_else_in_the_place_of_ours_makes_way(world):
    meddler = Meddler(world)
    with no_roll_out(world):
        for child in world.children():
            for kind, place, value in INSTEAD:
                if child["kind"] == kind:
                    meddler.replace(child, place, value)
    assert not meddler.wrong, meddler.report()


class TestDeleted:
    @pytest.mark.parametrize("propagation", ["Background", "Orphan"])
    def test_a_child_that_is_deleted_comes_back(self, world, propagation):
        for child in world.children():
            world.api.delete(child, propagation=propagation)
            world.wait_repaired(child)

    def test_a_child_that_goes_after_its_own_children_comes_back_when_it_is_gone(self, world):
        for child in world.children():
            world.api.delete(child, propagation="Foreground")
            world.wait_back(child)

    def test_all_children_deleted_at_once_come_back(self, world):
        children = world.children()
        for child in children:
            world.api.delete(child)
        for child in children:
            world.wait_back(child)


def held(child: Manifest, *, hold: bool) -> Manifest:
    """Return the patch that adds or removes a finalizer of somebody else."""
    others = [name for name in child["metadata"].get("finalizers", []) if name != FOREIGN]
    return {"metadata": {"finalizers": [*others, FOREIGN] if hold else others}}


class TestHeldByTheFinalizerOfAnother:
    def test_a_deleted_child_that_cannot_go_is_told_and_comes_back_when_it_has_gone(self, world):
        for child in world.children():
            world.api.delete(world.api.merge(child, held(child, hold=True)))
            world.wait_told("Deleting", child)
            world.api.merge(world.now(child), held(child, hold=False))
            world.wait_back(child)
            world.wait_ready()

    def test_while_all_are_held_nothing_is_written(self, world):
        children = world.children()
        for child in children:
            world.api.delete(world.api.merge(child, held(child, hold=True)))
        world.wait_reason("Deleting")
        world.settle(LONGER_THAN_MOST_LOOKS_SECONDS)
        for child in children:
            world.api.merge(world.now(child), held(child, hold=False))
        for child in children:
            world.wait_back(child)


def writes_of_children(world: World) -> dict[str, int]:
    return {what: count for what, count in world.writes().items() if not what.startswith("apply_status ")}


class TestOwnership:
    def test_a_child_that_was_disowned_is_left_alone_with_a_reason_until_it_is_owned_again(self, world):
        for child in world.children():
            writes = writes_of_children(world)
            world.api.merge(child, {"metadata": {"ownerReferences": None}})
            try:
                world.wait_told("NameTaken", child)
                world.settle(0.5)
                assert writes_of_children(world) == writes
            finally:
                owners = {"metadata": {"ownerReferences": child["metadata"]["ownerReferences"]}}
                world.api.merge(child, owners)
            world.wait_ready()
            world.ledger.outcomes["left alone with a reason, then taken up again"] += 1

    @pytest.mark.parametrize("change", [{"blockOwnerDeletion": False}, {"name": "another"}])
    def test_an_owner_reference_that_was_edited_is_put_back(self, world, change):
        for child in world.children():
            (owner,) = child["metadata"]["ownerReferences"]
            world.api.merge(child, {"metadata": {"ownerReferences": [owner | change]}})
            world.wait_repaired(child)

    def test_an_object_of_another_in_the_place_of_a_child_is_left_alone_until_it_goes(self, world):
        children = world.children()
        foreign = []
        world.operator.send(signal.SIGSTOP)  # or it would make them anew before we can
        try:
            for child in children:
                world.api.delete(child)
                content = {field: value for field, value in intent(child).items() if field.steps[0] != "metadata"}
                foreign.append(world.api.apply(alone(child, content), manager="somebody"))
        finally:
            world.operator.send(signal.SIGCONT)
        world.wait_reason("NameTaken")
        world.settle()
        owned_by_us = "image-service-operator"
        for found in map(world.now, foreign):
            assert owned_by_us not in {entry["manager"] for entry in found["metadata"]["managedFields"]}
        for found in foreign:
            world.api.delete(found)
        for child in children:
            world.wait_back(child)


class TestAdditions:
    """What others add stays theirs: it is neither removed nor a reason to write."""

    def test_foreign_labels_and_annotations_stay_and_nothing_is_written_for_them(self, world):
        added = {"metadata": {"labels": {FOREIGN: "theirs"}, "annotations": {FOREIGN: "theirs"}}}
        world.settle(LONGER_THAN_MOST_LOOKS_SECONDS)
        before, writes = told_in(world.service()["status"]), writes_of_children(world)
        for child in world.children():
            world.api.merge(child, added)
        world.settle()
        assert writes_of_children(world) == writes
        assert told_in(world.service()["status"]) == before
        for child in world.children():
            world.api.merge(child, {"metadata": {"labels": {MANAGED_BY_LABEL: "another"}}})
            world.wait_repaired(child)
            metadata = world.now(child)["metadata"]
            assert (metadata["labels"][FOREIGN], metadata["annotations"][FOREIGN]) == ("theirs", "theirs")
            world.ledger.outcomes["left alone: an addition of another"] += 1

    def test_fields_that_another_applies_with_the_same_values_are_shared(self, world):
        for child in world.children():
            world.api.apply(alone(child, intent(child)), manager="co-owner")
        before = world.settle()
        world.api.merge(world.service(), {"spec": {"api": {"replicas": 3}}})
        world.wait(lambda: replicas(world) == 3, "the Deployment has the new number of replicas")
        world.api.merge(world.service(), {"spec": {"api": {"replicas": 2}}})
        world.wait(lambda: replicas(world) == 2, "the Deployment has the old number of replicas")
        assert world.settle().keys() == before.keys()

    def test_an_injected_container_stays_and_is_not_taken_for_ours(self, world):
        image = world.service()["status"]["image"]
        proxy = {"name": "proxy", "image": "proxy.example/proxy:1", "securityContext": RESTRICTED}
        deployment = world.deployment()
        containers = part(*POD, "containers").pointer(deployment)
        world.api.patch(deployment, [{"op": "add", "path": f"{containers}/0", "value": proxy}])
        world.settle()
        names = [container["name"] for container in part(*POD, "containers").value(world.deployment())]
        assert names == ["proxy", "glance-api", "store-monitor"]
        assert world.service()["status"]["image"] == image
        world.api.patch(world.deployment(), [{"op": "remove", "path": f"{containers}/0"}])

    def test_a_restart_that_somebody_asked_for_happens(self, world):
        world.namespace.kubectl("rollout", "restart", "deployment/glance-api")
        world.settle()
        annotations = world.deployment()["spec"]["template"]["metadata"]["annotations"]
        assert "kubectl.kubernetes.io/restartedAt" in annotations

    def test_a_port_that_was_added_to_the_service_stays(self, world):
        service = world.api.get("Service", world.namespace.name, "glance-api")
        metrics = {"name": "metrics", "port": 9100, "protocol": "TCP", "targetPort": 9100}
        world.api.patch(service, [{"op": "add", "path": "/spec/ports/-", "value": metrics}])
        world.settle()
        ports = world.api.get("Service", world.namespace.name, "glance-api")["spec"]["ports"]
        assert [port["name"] for port in ports] == ["http", "monitor", "metrics"]

    def test_the_number_of_replicas_is_that_of_the_image_service_whoever_scales_the_deployment(self, world):
        deployment = world.deployment()
        world.api.merge(deployment, {"spec": {"replicas": 5}}, subresource="scale")
        world.wait_repaired(deployment)

    def test_a_paused_deployment_is_told_when_something_waits_for_it(self, world):
        world.api.merge(world.deployment(), {"spec": {"paused": True}})
        try:
            world.wait_ready()
            world.api.merge(world.service(), {"spec": {"api": {"threads": 8}}})
            world.wait_reason("DeploymentPaused", "ApiAvailable")
        finally:
            world.api.merge(world.deployment(), {"spec": {"paused": None}})


def replicas(world: World) -> int:
    return int(world.deployment()["spec"]["replicas"])


def told_in(status: Manifest) -> Manifest:
    """Return a status without the times, which may move."""
    conditions = [{k: v for k, v in c.items() if k != "lastTransitionTime"} for c in status.get("conditions", [])]
    return status | {"conditions": sorted(conditions, key=lambda condition: condition["type"])}


@pytest.mark.parametrize(("kind", "name"), OURS)
class TestOwnStatus:
    def test_a_status_that_somebody_edits_is_put_back(self, world, kind, name):
        world.wait_ready(kind, name)
        world.settle()  # the store follows the service, which may just have been edited itself
        before = world.service(kind, name)["status"]
        edits = [{field: value} for field in before for value in STATUS_EDITS[field]]
        for edit in [*edits, dict.fromkeys(before)]:
            world.api.merge(world.service(kind, name), {"status": edit}, subresource="status")
            began = time.monotonic()
            world.wait(lambda: told_in(world.service(kind, name)["status"]) == told_in(before), f"{[*edit]} is back")
            world.ledger.repaired(time.monotonic() - began)

    def test_a_condition_that_another_controller_adds_stays_and_costs_nothing(self, world, kind, name):
        theirs = {"type": "TheirsAlone", **A_LIE}
        live = world.service(kind, name)
        world.api.patch(live, [{"op": "add", "path": "/status/conditions/-", "value": theirs}], subresource="status")
        world.settle(LONGER_THAN_MOST_LOOKS_SECONDS)
        writes = world.writes()
        world.api.merge(world.service(kind, name), {"metadata": {"labels": {FOREIGN: "poke"}}})
        world.settle()
        assert "TheirsAlone" in world.conditions(kind, name)
        assert world.writes() == writes


def test_the_finalizer_comes_back_while_there_are_entries_to_be_taken_out(world):
    world.api.merge(world.service(), {"metadata": {"finalizers": None}})
    began = time.monotonic()
    world.wait(lambda: world.service()["metadata"].get("finalizers") == [FINALIZER], "the finalizer is back")
    world.ledger.repaired(time.monotonic() - began)


def test_much_was_tried_and_each_repair_was_a_matter_of_seconds(world, told):
    told(str(world.ledger))
    world.settle(LONGER_THAN_ANY_LOOK_SECONDS)
    assert world.ledger.outcomes.total() >= LEAST_TRIED
    assert max(world.ledger.seconds) < BOUND_SECONDS
