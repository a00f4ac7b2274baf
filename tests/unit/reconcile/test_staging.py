"""Whether imports can be staged where the spec says."""

import pytest
from tests.unit.reconcile.test_imageservice import Run
from tests.unit.reconcile.world import claim, image_store
from tests.unit.render import samples

from imageservice.errors import Blocked
from imageservice.reconcile.staging import staging_is_shared
from imageservice.runtime.kinds import DEPLOYMENT, PERSISTENT_VOLUME_CLAIM

CLAIM = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "staging"}}
EMPTY_DIR = {"type": "EmptyDir", "emptyDir": {}}
IMAGES_IN_STAGING = image_store("b", service="other", filesystem={"volume": CLAIM})
SHARED, SINGLE = ["ReadWriteMany"], ["ReadWriteOnce"]


def judged(staging, replicas=1, stores=(), modes=None):
    spec = samples.spec(imports={"staging": staging} if staging else {}, api={"replicas": replicas})
    return staging_is_shared(spec, stores, {"staging": {"spec": {"accessModes": modes}} if modes else None})


@pytest.mark.parametrize("staging", [None, EMPTY_DIR])
def test_directories_of_the_pods_keep_no_pod_from_starting(staging):
    assert judged(staging, replicas=3) is True


@pytest.mark.parametrize(
    ("modes", "replicas", "shared"), [(SHARED, 3, True), (SHARED, 1, True), (SINGLE, 1, False), (SINGLE, 0, False)]
)
def test_a_claim_is_shared_where_many_nodes_can_mount_it(modes, replicas, shared):
    assert judged(CLAIM, replicas, modes=modes) is shared


@pytest.mark.parametrize(
    ("blocked", "condition", "reason"),
    [
        ({}, "ResolvedRefs", "ClaimNotFound"),
        ({"modes": SINGLE, "replicas": 2}, "Accepted", "StoreNotShared"),
        ({"modes": SHARED, "stores": [image_store("a"), IMAGES_IN_STAGING]}, "Accepted", "InvalidSpec"),
    ],
)
def test_what_cannot_be_is_told_with_the_name_of_the_field(blocked, condition, reason):
    with pytest.raises(Blocked) as refusal:
        judged(CLAIM, **blocked)
    assert (refusal.value.condition, refusal.value.reason) == (condition, reason)
    assert "`staging`" in refusal.value.message
    assert "(spec.imports.staging.persistentVolumeClaim.claimName)" in refusal.value.message


async def test_a_service_waits_for_the_claim_of_its_staging_and_then_mounts_it():
    run = Run()
    run.change(imports={"staging": CLAIM})
    await run.once()
    assert run.verdict("ResolvedRefs") == ("False", "ClaimNotFound")
    assert run.kube.all(DEPLOYMENT) == []
    run.kube.put(PERSISTENT_VOLUME_CLAIM, claim("staging"))
    await run.to_the_end()
    assert run.verdict("ResolvedRefs") == ("True", "ResolvedRefs")
    [found] = run.kube.all(DEPLOYMENT)
    volumes = {volume["name"]: volume for volume in found["spec"]["template"]["spec"]["volumes"]}
    assert volumes["staging"]["persistentVolumeClaim"] == {"claimName": "staging"}
    assert found["spec"]["strategy"]["type"] == "RollingUpdate"


async def test_a_pod_lets_go_of_a_staging_claim_of_one_node_before_the_next_one_comes():
    run = Run()
    run.change(imports={"staging": CLAIM}, api={"replicas": 1})
    run.kube.put(PERSISTENT_VOLUME_CLAIM, claim("staging", mode="ReadWriteOnce"))
    await run.to_the_end()
    [found] = run.kube.all(DEPLOYMENT)
    assert found["spec"]["strategy"] == {"type": "Recreate"}
