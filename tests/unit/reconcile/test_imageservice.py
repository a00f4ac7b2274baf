"""One pass over an ImageService, and the passes after it: the world before -> the world after."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.reconcile.world import (
    NAMESPACE,
    Events,
    Monitors,
    claim,
    image_service,
    image_store,
    quickstart,
    secret,
)

from imageservice.reconcile.imageservice import ImageServiceReconciler
from imageservice.reconcile.imagestore import ImageStoreReconciler
from imageservice.runtime.kinds import (
    DEPLOYMENT,
    IMAGE_SERVICE,
    IMAGE_STORE,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
)
from imageservice.runtime.settings import Settings


class Run:
    """A world, its clock and the reconcilers on it."""

    def __init__(self, kube=None):
        self.kube = kube or quickstart()
        self.events = Events()
        self.now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
        self.service = ImageServiceReconciler(self.kube, self.events, Settings(), lambda: self.now)
        self.monitors = Monitors()
        self.store = ImageStoreReconciler(self.kube, self.events, Settings(), self.monitors, lambda: self.now)

    async def once(self, name="glance"):
        self.now += timedelta(seconds=1)
        return await self.service.reconcile(NAMESPACE, name)

    async def to_the_end(self):
        quiet = 0
        for _ in range(15):
            before = self.kube.writes
            await self.once()
            self.finish_jobs()
            self.roll_out()
            quiet = quiet + 1 if self.kube.writes == before else 0
            if quiet == 2:
                return
        raise AssertionError("does not settle")

    def finish_jobs(self):
        for job in self.kube.all(JOB):
            job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    def fail_job(self, reason, message):
        [job] = self.kube.all(JOB)
        failed_at = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        job["status"] = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": failed_at}]}
        ended = {"terminated": {"exitCode": 1, "message": json.dumps({"reason": reason, "message": message})}}
        labels = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
        status = {"phase": "Failed", "containerStatuses": [{"name": "database", "state": ended}]}
        self.kube.put(POD, {"metadata": {"name": "job-pod", "labels": labels}, "status": status})

    def roll_out(self, ready=None):
        for found in self.kube.all(DEPLOYMENT):
            wanted = found["spec"]["replicas"]
            found["status"] = {
                "observedGeneration": found["metadata"]["generation"],
                "replicas": wanted,
                "updatedReplicas": wanted,
                "readyReplicas": wanted if ready is None else ready,
            }

    def change(self, **spec):
        live = self.kube.find(IMAGE_SERVICE, "glance")
        live["spec"] |= spec
        live["metadata"]["generation"] += 1

    def conditions(self, name="glance", kind=IMAGE_SERVICE):
        return {c["type"]: c for c in self.kube.find(kind, name)["status"]["conditions"]}

    def verdict(self, type_="Ready"):
        found = self.conditions()[type_]
        return found["status"], found["reason"]


def jobs(run):
    """The Jobs, by their step and their release."""
    found = (job["metadata"] for job in run.kube.all(JOB))
    return sorted((job["name"].split("-")[2], job["labels"]["app.kubernetes.io/version"]) for job in found)


async def test_the_schema_comes_before_the_pods():
    run = Run()
    await run.once()
    assert jobs(run) == [("sync", "2026.1")], "where there are no older pods, one Job does all"
    assert run.kube.all(DEPLOYMENT) == []
    assert run.verdict("DatabaseReady") == ("False", "Preparing")
    assert run.verdict() == ("Unknown", "Progressing")

    run.finish_jobs()
    await run.once()
    assert len(run.kube.all(DEPLOYMENT)) == 1
    assert run.verdict("DatabaseReady") == ("True", "SchemaCurrent")
    await run.to_the_end()
    assert run.verdict() == ("True", "Ready")
    assert jobs(run) == [("sync", "2026.1")]


async def test_in_an_upgrade_the_schema_is_contracted_when_no_older_pod_is_left():
    run = Run()
    await run.to_the_end()
    run.change(release="2026.2")
    await run.once()
    assert jobs(run) == [("prepare", "2026.2"), ("sync", "2026.1")]
    run.finish_jobs()
    await run.once()
    assert run.verdict("DatabaseReady") == ("True", "SchemaUsable")
    assert len(jobs(run)) == 2, "no contraction while pods may be older"
    run.roll_out()
    await run.once()
    assert ("sync", "2026.2") in jobs(run)
    await run.to_the_end()
    assert jobs(run) == [("sync", "2026.2")], "as of one that was created so"
    assert run.verdict("DatabaseReady") == ("True", "SchemaCurrent")


async def test_a_lost_job_is_made_again_as_it_was():
    run = Run()
    await run.to_the_end()
    [job] = run.kube.all(JOB)
    await run.kube.delete(JOB, job)
    await run.to_the_end()
    assert [one["metadata"]["name"] for one in run.kube.all(JOB)] == [job["metadata"]["name"]]


async def test_a_settled_world_is_not_written_to():
    run = Run()
    await run.to_the_end()
    before = json.dumps(sorted(map(str, run.kube.objects.items())))
    writes = run.kube.writes
    for _ in range(5):
        await run.once()
    assert run.kube.writes == writes
    assert json.dumps(sorted(map(str, run.kube.objects.items()))) == before


@pytest.mark.parametrize("kind", [SERVICE, POD_DISRUPTION_BUDGET, DEPLOYMENT], ids=lambda kind: kind.kind)
async def test_a_child_deleted_or_edited_comes_back(kind):
    run = Run()
    await run.to_the_end()
    [child] = run.kube.all(kind)
    wanted = json.dumps(child["spec"])
    await run.kube.delete(kind, child)
    await run.to_the_end()
    [again] = run.kube.all(kind)
    assert json.dumps(again["spec"]) == wanted
    again["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "somebody-else"
    await run.to_the_end()
    assert run.kube.all(kind)[0]["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "image-service-operator"


async def test_an_object_of_somebody_else_is_never_taken_over():
    run = Run()
    theirs = run.kube.put(SERVICE, {"metadata": {"name": "glance-api"}, "spec": {"selector": {"app": "theirs"}}})
    await run.once()
    assert run.kube.find(SERVICE, "glance-api") == theirs
    assert run.verdict() == ("False", "NameTaken")
    assert "Stalled" in run.conditions()


async def test_what_an_earlier_object_of_the_name_left_is_waited_for():
    run = Run()
    await run.to_the_end()
    run.kube.find(IMAGE_SERVICE, "glance")["metadata"]["uid"] = "a-new-one"
    result = await run.once()
    assert run.verdict() == ("Unknown", "Progressing")
    assert result.requeue_after is not None


async def test_a_config_change_keeps_the_old_files_until_no_old_pod_needs_them():
    run = Run()
    await run.to_the_end()
    old = {s["metadata"]["name"] for s in run.kube.all(SECRET) if "-config-" in s["metadata"]["name"]}
    run.change(extraConfig={"DEFAULT": {"image_size_cap": "1000"}})
    await run.once()
    during = {s["metadata"]["name"] for s in run.kube.all(SECRET) if "-config-" in s["metadata"]["name"]}
    assert old < during
    await run.to_the_end()
    after = {s["metadata"]["name"] for s in run.kube.all(SECRET) if "-config-" in s["metadata"]["name"]}
    assert len(after) == 1
    assert not after & old


async def test_there_and_back_again_ends_as_if_never_gone():
    straight, detour = Run(), Run()
    await straight.to_the_end()
    await detour.to_the_end()
    for change in (
        {"extraConfig": {"DEFAULT": {"image_size_cap": "1"}}, "api": {"replicas": 1}},
        {"extraConfig": {"DEFAULT": {"bogus": "1"}}},
        {"extraConfig": {}, "api": {}},
    ):
        detour.change(**change)
        await detour.to_the_end()

    def children(run):
        kinds = (SERVICE, DEPLOYMENT, POD_DISRUPTION_BUDGET, JOB)
        found = {(k.kind, c["metadata"]["name"]): c["spec"] for k in kinds for c in run.kube.all(k)}
        secrets = {("Secret", s["metadata"]["name"]): s.get("data") for s in run.kube.all(SECRET)}
        return found | secrets

    def uid_free(found):
        uid = "uid-5"
        return json.loads(json.dumps(found, sort_keys=True, default=str).replace(uid, "UID"))

    assert uid_free(list(children(straight).items())) == uid_free(list(children(detour).items()))


async def test_a_failed_database_job_says_why_waits_and_is_tried_again():
    run = Run()
    await run.once()
    run.fail_job("DatabaseUnreachable", "no answer from mariadb for db-password")
    result = await run.once()
    assert run.verdict() == ("False", "DatabaseUnreachable")
    assert "db-password" not in json.dumps(run.kube.find(IMAGE_SERVICE, "glance")["status"])
    assert len(run.kube.all(JOB)) == 1, "not thrown away at once"
    assert result.requeue_after is not None
    run.now += timedelta(seconds=60)
    await run.once()
    await run.once()
    [job] = run.kube.all(JOB)
    assert "status" not in job
    await run.to_the_end()
    assert run.verdict() == ("True", "Ready")


async def test_a_newer_database_is_bad_input_and_the_old_pods_stay():
    run = Run()
    await run.to_the_end()
    before = run.kube.find(DEPLOYMENT, "glance-api")["spec"]
    run.change(release="2025.2")
    for job in run.kube.all(JOB):
        await run.kube.delete(JOB, job)
    await run.once()
    run.fail_job("DatabaseNewerThanRelease", "revision 2027_1 is unknown")
    await run.once()
    assert run.verdict() == ("False", "DatabaseNewerThanRelease")
    assert run.kube.find(DEPLOYMENT, "glance-api")["spec"] == before


async def test_a_migration_at_work_is_not_taken_away_by_a_new_spec():
    run = Run()
    await run.once()
    [old] = run.kube.all(JOB)
    labels = {"batch.kubernetes.io/controller-uid": old["metadata"]["uid"]}
    pod = run.kube.put(POD, {"metadata": {"name": "busy", "labels": labels}, "status": {"phase": "Running"}})
    run.change(image="example/other:1")
    await run.once()
    assert run.verdict("DatabaseReady") == ("False", "WaitingForOtherMigration")
    assert [job["metadata"]["name"] for job in run.kube.all(JOB)] == [old["metadata"]["name"]]
    pod["status"]["phase"] = "Pending"
    await run.once()
    assert old["metadata"]["name"] not in [job["metadata"]["name"] for job in run.kube.all(JOB)]


@pytest.mark.parametrize(
    ("break_it", "reason", "waits"),
    [
        (lambda k: k.objects.pop(("Secret", "glance-db")), "SecretNotFound", True),
        (lambda k: k.put(SECRET, secret("glance-db", other="x")), "SecretKeyMissing", False),
        (lambda k: k.put(SECRET, secret("glance-db", url="sqlite:///x")), "InvalidDatabaseURL", False),
        (lambda k: k.objects.pop(("Secret", "glance-user")), "SecretNotFound", True),
        (lambda k: k.objects.pop(("PersistentVolumeClaim", "images")), "DefaultStoreNotUsable", True),
        (lambda k: k.objects.pop(("ImageStore", "central")), "NoStore", True),
        (lambda k: k.put(PERSISTENT_VOLUME_CLAIM, claim(mode="ReadWriteOnce")), "DefaultStoreNotUsable", True),
        (
            lambda k: k.put(IMAGE_SERVICE, image_service(extraConfig={"DEFAULT": {"bogus": "1"}})),
            "InvalidExtraConfig",
            False,
        ),
        (lambda k: k.put(IMAGE_SERVICE, {"metadata": {"name": "glance"}, "spec": {}}), "InvalidSpec", False),
    ],
)
async def test_bad_input_is_told_by_its_reason_and_mends_when_mended(break_it, reason, waits):
    run = Run()
    whole = dict(run.kube.objects)
    break_it(run.kube)
    result = await run.once()
    ready = run.conditions()["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert ready["message"]
    assert ("Reconciling" if waits else "Stalled") in run.conditions()
    assert (result.requeue_after is not None) == waits
    assert run.kube.all(DEPLOYMENT) == []
    status = run.kube.find(IMAGE_SERVICE, "glance")["status"]
    run.kube.objects.update(whole)
    run.kube.find(IMAGE_SERVICE, "glance")["status"] = status
    await run.to_the_end()
    assert run.verdict() == ("True", "Ready")


async def test_a_pod_that_crashes_at_boot_is_told_with_its_last_words():
    run = Run()
    await run.once()
    run.finish_jobs()
    await run.once()
    run.roll_out(ready=0)
    labels = run.kube.find(DEPLOYMENT, "glance-api")["spec"]["template"]["metadata"]["labels"]
    ended = {"terminated": {"exitCode": 3, "message": "boot\ncannot log in with user-password"}}
    containers = [{"name": "glance-api", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}]
    run.kube.put(POD, {"metadata": {"name": "p", "labels": labels}, "status": {"containerStatuses": containers}})
    run.now += timedelta(seconds=5)
    await run.once()
    found = run.conditions()["ApiAvailable"]
    assert (found["status"], found["reason"]) == ("False", "PodCrashing")
    assert "cannot log in with ***" in found["message"]


async def test_a_store_becomes_attached_when_every_pod_serves_it():
    run = Run()
    await run.to_the_end()
    run.kube.put(PERSISTENT_VOLUME_CLAIM, claim("more"))
    volume = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "more"}}
    run.kube.put(IMAGE_STORE, image_store("second", filesystem={"volume": volume}))
    run.change(defaultStore="central")
    await run.once()
    await run.store.reconcile(NAMESPACE, "second")
    await run.store.reconcile(NAMESPACE, "central")
    assert run.conditions("second", IMAGE_STORE)["Attached"]["reason"] == "Attaching"
    assert run.conditions("central", IMAGE_STORE)["Ready"]["status"] == "True"
    await run.to_the_end()
    await run.store.reconcile(NAMESPACE, "second")
    assert run.conditions("second", IMAGE_STORE)["Ready"]["status"] == "True"


async def test_a_bad_second_store_leaves_the_service_ready():
    run = Run()
    run.kube.put(IMAGE_STORE, image_store("broken", storeID="central"))
    run.change(defaultStore="central")
    await run.to_the_end()
    await run.store.reconcile(NAMESPACE, "broken")
    assert run.verdict() == ("True", "Ready")
    assert run.conditions("broken", IMAGE_STORE)["Ready"]["reason"] == "StoreIDConflict"
    rows = {row["name"]: row for row in run.kube.find(IMAGE_SERVICE, "glance")["status"]["stores"]}
    assert (rows["broken"]["attached"], rows["broken"]["reason"]) == (False, "StoreIDConflict")


async def test_no_replica_is_no_outage_and_no_success():
    run = Run()
    run.change(api={"replicas": 0})
    await run.to_the_end()
    assert run.verdict() == ("False", "ScaledToZero")
    assert run.kube.all(POD_DISRUPTION_BUDGET) == []


async def test_no_secret_is_in_anything_but_secrets():
    run = Run()
    await run.to_the_end()
    rest = {key: item for key, item in run.kube.objects.items() if key[0] != "Secret"}
    text = json.dumps([*rest.values(), *run.events.seen])
    assert "db-password" not in text
    assert "user-password" not in text


async def test_an_event_is_told_once():
    run = Run()
    await run.to_the_end()
    assert len(run.events.reasons) == len(set(run.events.reasons))
    assert "Ready" in run.events.reasons


async def test_a_store_that_comes_while_nothing_goes_on_is_not_called_attached():
    run = Run()
    run.change(defaultStore="central")
    await run.to_the_end()
    run.kube.put(SECRET, secret("glance-db", uri="mysql+pymysql://glance:db-password@mariadb:3306/glance"))
    nfs = {"volume": {"type": "NFS", "nfs": {"server": "nfs.example", "path": "/exports/images"}}}
    run.kube.put(IMAGE_STORE, image_store("second", filesystem=nfs))
    await run.once()
    assert run.verdict() == ("False", "SecretKeyMissing")
    attached = {row["name"]: row["attached"] for row in run.kube.find(IMAGE_SERVICE, "glance")["status"]["stores"]}
    assert attached == {"central": True, "second": False}
    await run.store.reconcile(NAMESPACE, "second")
    assert run.conditions("second", IMAGE_STORE)["Ready"]["reason"] == "ImageServiceBlocked"
