"""The main job on real nodes: a real Glance with a real MariaDB and a real Keystone, its operator installed by Helm.

The order matters: most of this is waiting, so the minute in which nothing may be written to the good ImageService is
the one in which everything bad is tried beside it.
"""

import json
import subprocess
import time

import pytest
from demo import platform
from demo.bootable_image import bootable_image
from tests.cluster import images
from tests.e2e.site import Site
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(600)]

OLD, NEW = "2025.1", "2026.1"
IDLE_SECONDS = 65
"""Longer than a resync."""
CRASHES = "nosuchdriver://user:planted@there.is.none"
"""A transport URL that no Glance boots with, and a password in it."""
NOT_THE_PASSWORD = "not-the-password"


@pytest.fixture(scope="module")
def site(real_cluster):
    """MariaDB, Keystone and the operator; no ImageService yet."""
    names = ("operator", f"glance-{OLD}", f"glance-{NEW}", "mariadb", "keystone")
    real_cluster.import_images(*(images.build(name) for name in names))
    site = Site(real_cluster, "e2e")
    real_cluster.apply(platform.namespace(site.home))
    servers = [item for server in (platform.MARIADB, platform.KEYSTONE) for item in platform.server(server, site.home)]
    storage = platform.shared_storage(real_cluster, site.home)
    real_cluster.apply(*servers, *platform.secrets(site.home), *storage)
    platform.install_operator(real_cluster, (OLD, NEW), **{"operator.resyncSeconds": "60"})
    for name in ("mariadb", "keystone"):
        site.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)
    return site


@pytest.fixture(scope="module")
def glance(site):
    """The ImageService of the quickstart, Ready, on the older release."""
    site.cluster.apply(platform.image_store(site.home), platform.image_service(site.home, release=OLD))
    site.wait_ready(seconds=180)
    return site


@pytest.fixture(scope="module")
def bad(site):
    """Everything that can be wrong, made at once: each takes its time to show, and they do so side by side."""
    good = site.new_database("cases")
    site.mysql("CREATE TABLE cases.alembic_version (version_num varchar(32)); ")
    site.mysql("INSERT INTO cases.alembic_version VALUES ('2031_1_contract01');")
    site.make("alone", site.new_database("alone"))
    site.make("crash", site.new_database("crash"), extraConfig={"DEFAULT": {"transport_url": CRASHES}})
    site.make("nopull", site.new_database("nopull"), image="localhost/there-is-none:1")
    site.make("unreachable", good.replace("mariadb.", "nowhere."))
    site.make("denied", good.replace(platform.PASSWORDS["database"], NOT_THE_PASSWORD))
    site.make("newer", good)
    return site


@pytest.fixture(scope="module")
def settled(glance):
    """What there is of the good ImageService once all is done, and since when."""
    wait_for(lambda: is_reachable(glance, "central"), 60, "the pods have told that they reach the store")
    time.sleep(8)  # Kubernetes writes that a pod is available minReadySeconds after it is ready
    return glance.versions(), time.monotonic()


def is_reachable(site, store):
    conditions = site.get("imagestore", store)["status"]["conditions"]
    return any(c["type"] == "Reachable" and c["status"] == "True" for c in conditions)


def api_pods(site):
    selector = "app.kubernetes.io/component=api,app.kubernetes.io/instance=glance"
    return [pod for pod in site.get("pods", "-l", selector)["items"] if not pod["metadata"].get("deletionTimestamp")]


def patch(site, **spec):
    site.kubectl("patch", "imageservice", "glance", "--type=merge", "-p", json.dumps({"spec": spec}))


class TestTheMainJob:
    def test_two_replicas_run_on_two_nodes(self, glance):
        assert len({pod["spec"]["nodeName"] for pod in api_pods(glance)}) == 2


@pytest.mark.usefixtures("settled")
class TestBadInput:
    def test_an_image_that_cannot_be_pulled_is_named(self, bad):
        condition = bad.wait_reason("ImageNotPulled", "DatabaseReady", "nopull")
        assert "localhost/there-is-none:1" in condition["message"]
        bad.remove("nopull")

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("unreachable", "DatabaseUnreachable"),
            ("denied", "DatabaseAccessDenied"),
            ("newer", "DatabaseNewerThanRelease"),
        ],
    )
    def test_a_database_that_is_not_there_refuses_or_is_newer_is_told_apart(self, bad, name, reason):
        condition = bad.wait_reason(reason, "DatabaseReady", name)
        assert platform.PASSWORDS["database"] not in condition["message"]
        assert NOT_THE_PASSWORD not in condition["message"]
        bad.remove(name)

    def test_a_pod_that_crashes_at_boot_is_told_with_its_last_words(self, bad):
        condition = bad.wait_reason("PodCrashing", "ApiAvailable", "crash", seconds=120)
        assert "nosuchdriver" in condition["message"]
        assert "planted" not in condition["message"]
        assert platform.PASSWORDS["database"] not in condition["message"]
        bad.kubectl("patch", "imageservice", "crash", "--type=merge", "-p", '{"spec":{"extraConfig":null}}')

    def test_a_keystone_that_is_down_is_told_and_comes_back(self, bad):
        bad.wait_ready("alone", seconds=120)
        somewhere_else = {"authURL": "http://nowhere.e2e.svc.cluster.local:5000/v3"}
        bad.kubectl(
            *("patch", "imageservice", "alone", "--type=merge", "-p"),
            json.dumps({"spec": {"identity": somewhere_else}}),
        )
        bad.wait_reason("KeystoneUnreachable", "IdentityReady", "alone")
        bad.remove("alone")

    def test_a_pod_that_crashed_is_well_once_the_cause_is_gone(self, bad):
        bad.wait_ready("crash", seconds=180)
        bad.remove("crash")


class TestTheMainJobBesideThem:
    def test_an_idle_minute_writes_nothing(self, glance, settled):
        before, since = settled
        time.sleep(max(0, since + IDLE_SECONDS - time.monotonic()))
        assert glance.versions() == before

    def test_a_config_change_an_upgrade_and_a_restart_fail_no_request(self, glance):
        with glance.loop() as report:
            for change in ({"extraConfig": {"DEFAULT": {"image_size_cap": "107374182400"}}}, {"release": NEW}):
                before = {pod["metadata"]["uid"] for pod in api_pods(glance)}
                patch(glance, **change)
                glance.wait_ready(seconds=180)
                assert not before & {pod["metadata"]["uid"] for pod in api_pods(glance)}
            for pod in api_pods(glance):
                glance.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
                glance.kubectl("rollout", "status", "deployment/glance-api", "--timeout=120s", timeout=130)
                time.sleep(1)
        print(json.dumps(report))
        assert report["failed"] == 0, report["failures"]
        assert report["uploads"] > 10
        assert glance.get("imageservice", "glance")["status"]["release"] == NEW

    def test_a_bootable_image_comes_back_as_it_was_sent(self, glance):
        done = subprocess.run(
            glance.client("transfer", bootable_image()), capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["status"] == "active"
        assert report["stores"] == "central"
        assert report["sha512_sent"] == report["sha512_received"] == report["sha512_in_glance"]

    def test_operator_pods_killed_and_replaced_change_nothing(self, glance):
        glance.wait_ready()
        time.sleep(8)
        before = glance.versions()
        operator = ["-n", platform.OPERATOR_NAMESPACE]
        select = ["-l", "app.kubernetes.io/name=image-service-operator"]
        glance.cluster.kubectl(*operator, "delete", "pod", *select, "--force", "--grace-period=0")
        rollout = ["rollout", "status", "deployment", "--timeout=90s", *select]
        glance.cluster.kubectl(*operator, *rollout, timeout=100)
        time.sleep(20)
        assert glance.versions() == before


class TestTheEnd:
    def test_deleting_leaves_nothing_and_the_namespace_goes(self, glance):
        glance.kubectl("delete", "imageservice", "glance", "--timeout=60s", timeout=70)

        def left():
            kinds = "deployments,services,jobs,poddisruptionbudgets,secrets,pods"
            label = "imageservice.dev/image-service=glance"
            return [item["metadata"]["name"] for item in glance.get(kinds, "-l", label)["items"]]

        wait_for(lambda: not left(), 90, f"nothing of it is left: {left()}")
        glance.cluster.kubectl("delete", "namespace", glance.home, "--timeout=150s", timeout=160)
