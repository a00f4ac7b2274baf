"""The whole operator on a real API server, with a real Keystone and nodes that only claim to run pods."""

import json
import time

import pytest
from tests.integration import objects
from tests.integration.objects import Namespace, image_service, image_store, secrets
from tests.operator_process import OperatorProcess, running, wait_for

pytestmark = [pytest.mark.cluster]

CRDS = "crds"


@pytest.fixture(scope="session")
def cluster(control_plane):
    control_plane.kubectl("apply", "--server-side", "-f", CRDS)
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return control_plane


@pytest.fixture(scope="module")
def operator(cluster, tmp_path_factory):
    with running(cluster, tmp_path_factory.mktemp("operator") / "log", resync_seconds="20") as process:
        yield process


@pytest.fixture
def namespace(cluster, keystone):
    keystone.empty_the_catalog()
    made = Namespace(cluster, keystone)
    yield made
    made.delete()


@pytest.mark.usefixtures("operator")
class TestTheMainJob:
    def test_an_image_service_becomes_ready_with_all_that_it_needs(self, namespace, keystone):
        namespace.quickstart()
        namespace.wait_ready()
        status = namespace.find("imageservice", "glance")["status"]
        assert {c["type"]: c["status"] for c in status["conditions"]} == dict.fromkeys(
            [
                "Accepted",
                "ApiAvailable",
                "CatalogRegistered",
                "ConfigRendered",
                "DatabaseReady",
                "IdentityReady",
                "Ready",
                "ResolvedRefs",
            ],
            "True",
        )
        assert (status["release"], status["replicas"], status["readyReplicas"]) == ("2026.1", 2, 2)
        assert {entry["interface"]: entry["url"] for entry in status["endpoints"]} == {
            "Public": "https://image.example",
            "Internal": f"http://glance-api.{namespace.name}.svc.cluster.local:9292",
        }
        assert [(row["name"], row["default"], row["attached"]) for row in status["stores"]] == [("central", True, True)]
        for kind in ("deployment", "service", "poddisruptionbudget"):
            assert namespace.find(kind, "glance-api"), kind
        namespace.wait_ready("central", "imagestore")
        assert set(keystone.catalog_of_a_user()) == {("RegionOne", "public"), ("RegionOne", "internal")}

    def test_a_settled_service_is_not_written_to_and_no_annotation_of_ours_is_on_the_users_objects(self, namespace):
        namespace.quickstart()
        namespace.wait_ready()
        namespace.wait_ready("central", "imagestore")
        namespace.wait_settled()
        before = namespace.versions()
        time.sleep(26)  # longer than a resync: 20 s, a fifth more at most
        assert namespace.versions() == before
        for kind, name in (("imageservice", "glance"), ("imagestore", "central"), ("secret", "glance-db")):
            annotations = namespace.find(kind, name)["metadata"].get("annotations", {})
            assert not [key for key in annotations if "imageservice.dev" in key or "kopf" in key]
        assert namespace.find("imageservice", "glance")["metadata"]["finalizers"] == [
            "imageservice.dev/keystone-catalog"
        ]
        assert namespace.find("imagestore", "central")["metadata"]["finalizers"] == ["imageservice.dev/image-data"]

    def test_what_was_applied_has_no_difference_from_what_is_there(self, namespace, tmp_path, keystone):
        namespace.quickstart()
        namespace.wait_ready()
        manifests = [namespace.at_home(m) for m in (image_service(keystone), image_store())]
        for server_side in ([], ["--server-side", "--force-conflicts"]):
            for manifest in manifests:
                document = json.dumps(manifest)
                namespace.kubectl("apply", *server_side, "-f", "-", stdin=document)
                side = ["--server-side", "--force-conflicts"] if server_side else []
                difference = namespace.kubectl("diff", *side, "-f", "-", stdin=document, check=False)
                assert (difference.returncode, difference.stdout) == (0, "")

    def test_kubectl_tells_the_state_in_one_look(self, namespace):
        namespace.quickstart()
        namespace.wait_ready()
        namespace.wait_ready("central", "imagestore")
        listed = namespace.kubectl("get", "glance").stdout
        assert "imageservice.imageservice.dev/glance" in listed
        assert "imagestore.imageservice.dev/central" in listed
        assert listed.count("True") == 2
        assert "release" in namespace.kubectl("explain", "imageservice.spec").stdout

    def test_kubectl_scale_scales(self, namespace):
        namespace.quickstart()
        namespace.wait_ready()
        namespace.kubectl("scale", "imageservice/glance", "--replicas=3")
        wait_for(
            lambda: namespace.find("deployment", "glance-api")["status"].get("readyReplicas") == 3, 20, "3 replicas"
        )
        namespace.wait_ready()
        assert namespace.find("imageservice", "glance")["status"]["replicas"] == 3

    @pytest.mark.parametrize("kind", ["deployment", "service", "poddisruptionbudget"])
    def test_a_deleted_child_comes_back(self, namespace, kind):
        namespace.quickstart()
        namespace.wait_ready()
        uid = namespace.find(kind, "glance-api")["metadata"]["uid"]
        namespace.kubectl("delete", kind, "glance-api", "--wait=true")
        back = wait_for(lambda: namespace.find(kind, "glance-api"), 10, f"the {kind} is back")
        assert back["metadata"]["uid"] != uid
        namespace.wait_ready()

    def test_an_edit_of_a_child_is_undone(self, namespace):
        namespace.quickstart()
        namespace.wait_ready()
        namespace.kubectl("patch", "service", "glance-api", "-p", '{"spec":{"selector":{"app":"hijacked"}}}')
        selector = namespace.find("service", "glance-api")["spec"]["selector"]

        def undone():
            found = namespace.find("service", "glance-api")["spec"]["selector"]
            return found.get("imageservice.dev/site-service") == "glance-api" and "app" not in found

        assert "app" in selector or undone()
        wait_for(undone, 10, "the selector is as it was")

    def test_deleting_takes_everything_made_for_it_away(self, namespace, keystone):
        namespace.quickstart()
        namespace.wait_ready()
        namespace.kubectl("delete", "imageservice", "glance", "--timeout=30s")
        assert keystone.image_services() == []

        def children():
            kinds = "deployments,services,jobs,poddisruptionbudgets,secrets"
            return [
                item["metadata"]["name"]
                for item in namespace.get(kinds)["items"]
                if "imageservice.dev/image-service" in item["metadata"].get("labels", {})
            ]

        wait_for(lambda: not children(), 40, f"the children are gone: {children()}")

    def test_entries_that_are_to_be_kept_are_kept_and_need_no_finalizer(self, namespace, keystone):
        service = image_service(keystone)
        service["spec"]["identity"]["catalog"]["deletionPolicy"] = "Retain"
        namespace.claim()
        namespace.apply(*secrets(), image_store(), service)
        namespace.wait_ready()
        assert "finalizers" not in namespace.find("imageservice", "glance")["metadata"]
        namespace.kubectl("delete", "imageservice", "glance", "--timeout=20s")
        assert len(keystone.endpoints()) == 2

    def test_a_catalogue_that_is_not_ours_is_left_alone(self, namespace, keystone):
        service = image_service(keystone)
        service["spec"]["identity"]["catalog"] = {"register": False}
        namespace.claim()
        namespace.apply(*secrets(), image_store(), service)
        namespace.wait_ready()
        assert keystone.image_services() == []
        assert namespace.conditions()["CatalogRegistered"]["reason"] == "NotManaged"

    def test_deleting_the_namespace_does_not_hang(self, namespace, cluster):
        namespace.quickstart()
        namespace.wait_ready()
        cluster.kubectl("delete", "namespace", namespace.name, "--timeout=120s", timeout=130)

    @pytest.mark.slow
    def test_a_keystone_that_is_gone_holds_nothing_up_for_long(self, namespace, keystone):
        namespace.quickstart()
        namespace.wait_ready()
        broken = '{"spec":{"identity":{"authURL":"http://127.0.0.1:9/v3"}}}'
        namespace.kubectl("patch", "imageservice", "glance", "--type=merge", "-p", broken)
        namespace.wait_reason("KeystoneUnreachable", "IdentityReady")
        namespace.kubectl("delete", "imageservice", "glance", "--timeout=100s", timeout=110)
        reasons = {event["reason"] for event in namespace.get("events")["items"]}
        assert "CatalogEntriesLeft" in reasons


@pytest.mark.usefixtures("operator")
class TestBadInput:
    @pytest.mark.parametrize("name", ["glance-db", "glance-user", "keystone-admin"])
    def test_a_missing_secret_is_named_and_taken_up_when_it_comes(self, namespace, keystone, name):
        given = [m for m in secrets() if m["metadata"]["name"] != name]
        late = [m for m in secrets() if m["metadata"]["name"] == name]
        namespace.claim()
        namespace.apply(*given, image_store(), image_service(keystone))
        condition = namespace.wait_reason("SecretNotFound", "ResolvedRefs")
        assert f"`{name}`" in condition["message"]
        namespace.apply(*late)
        namespace.wait_ready()

    def test_a_missing_key_is_named(self, namespace, keystone):
        namespace.claim()
        namespace.apply(
            *secrets()[1:],
            objects.secret("glance-db", uri="x"),
            image_store(),
            image_service(keystone),
        )
        condition = namespace.wait_reason("SecretKeyMissing", "ResolvedRefs")
        assert "`url`" in condition["message"]
        assert "Stalled" in namespace.conditions()

    def test_credentials_that_keystone_refuses_are_told(self, namespace, keystone):
        wrong = objects.secret("glance-user", username="glance", password="not-it", project_name="service")
        namespace.claim()
        namespace.apply(*secrets(), image_store(), image_service(keystone))
        namespace.wait_ready()
        namespace.apply(wrong)
        condition = namespace.wait_reason("CredentialsRefused", "IdentityReady", seconds=60)
        assert "not-it" not in condition["message"]

    def test_a_default_store_that_is_missing_or_of_another_service_is_told(self, namespace, keystone):
        namespace.claim()
        namespace.apply(*secrets(), image_service(keystone, defaultStore="central"))
        namespace.wait_reason("DefaultStoreNotFound", "ResolvedRefs")
        namespace.apply(image_store(service="another"))
        namespace.wait_reason("DefaultStoreOfAnotherService", "Accepted")

    def test_two_stores_with_one_id_are_told_apart_by_age(self, namespace, keystone):
        namespace.quickstart(defaultStore="central")
        namespace.wait_ready()
        namespace.apply(image_store("copy", storeID="central"))
        condition = namespace.wait_reason("StoreIDConflict", "Accepted", kind="imagestore", name="copy")
        assert "`central`" in condition["message"]
        namespace.wait_ready("central", "imagestore")
        namespace.wait_ready()

    @pytest.mark.parametrize(
        ("extra", "words"),
        [
            ({"DEFAULT": {"image_size_capp": "1"}}, "image_size_cap"),
            ({"nonsense": {"x": "1"}}, "nonsense"),
            ({"database": {"connection": "sqlite://"}}, "spec.database.secretRef"),
            ({"DEFAULT": {"enabled_backends": "x:file"}}, "ImageStore"),
        ],
    )
    def test_options_that_are_unknown_or_ours_are_refused_with_a_sentence(self, namespace, keystone, extra, words):
        namespace.quickstart(extraConfig=extra)
        condition = namespace.wait_reason("InvalidExtraConfig", "Accepted")
        assert words in condition["message"]

    @pytest.mark.parametrize("value", ["a$b", "100%", "x # y", '"quoted"', " [DEFAULT]", "%(host)s ${HOME}"])
    def test_odd_characters_stay_what_they_are(self, namespace, keystone, value):
        namespace.claim()
        namespace.apply(
            *secrets(),
            image_store(description=value),
            image_service(keystone, extraConfig={"DEFAULT": {"property_protection_file": value}}),
        )
        namespace.wait_ready()

    @pytest.mark.parametrize("value", ["a\n[DEFAULT]\ndebug = true", "a\rb"])
    def test_a_line_break_is_refused_at_admission(self, namespace, keystone, value):
        with pytest.raises(Exception, match="one line"):
            namespace.apply(image_store(description=value))
        with pytest.raises(Exception, match="one line"):
            namespace.apply(image_service(keystone, extraConfig={"DEFAULT": {"image_size_cap": value}}))

    @pytest.mark.parametrize("length", [63, 253])
    def test_a_name_at_the_limit_works(self, namespace, keystone, length):
        name = "n" * length
        namespace.claim()
        namespace.apply(*secrets(), image_store("central", service=name), image_service(keystone, name))
        namespace.wait_ready(name)

    def test_a_foreign_object_in_the_way_is_left_alone_and_told(self, namespace, keystone):
        theirs = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "glance-api"},
            "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
        }
        namespace.apply(theirs)
        namespace.quickstart()
        condition = namespace.wait_reason("NameTaken", "Accepted")
        assert "glance-api" in condition["message"]
        assert namespace.find("service", "glance-api")["spec"]["selector"] == {"app": "theirs"}
        namespace.kubectl("delete", "service", "glance-api")
        namespace.wait_ready(seconds=60)

    def test_what_a_policy_of_the_cluster_refuses_is_told(self, namespace):
        with namespace.refusing("deployments", "object.spec.replicas < 2", "at most one replica here"):
            namespace.quickstart()
            condition = namespace.wait_reason("RefusedByAPIServer", "Accepted")
        assert "at most one replica here" in condition["message"]


def leads(process):
    metric = "image_service_operator_leader_election_master_status"
    lines = [line for line in process.fetch("/metrics").splitlines() if line.startswith(metric)]
    return lines[0].endswith(" 1.0")


class TestTheProcess:
    def test_killed_and_started_again_it_changes_nothing(self, namespace, cluster, tmp_path):
        with running(cluster, tmp_path / "first") as process:
            namespace.quickstart()
            namespace.wait_ready()
            namespace.wait_ready("central", "imagestore")
            namespace.wait_settled()
            before = namespace.versions()
            process.kill()
        with running(cluster, tmp_path / "second"):
            time.sleep(5)
            assert namespace.versions() == before

    def test_the_second_replica_takes_over_from_a_killed_leader(self, namespace, cluster, tmp_path):
        with running(cluster, tmp_path / "leader") as leader, running(cluster, tmp_path / "standby") as standby:
            leads = "image_service_operator_leader_election_master_status"
            assert "1.0" not in [
                ln.split()[-1] for ln in standby.fetch("/metrics").splitlines() if ln.startswith(leads)
            ]
            leader.kill()
            began = time.monotonic()
            namespace.quickstart()
            namespace.wait_ready(seconds=60)
            assert time.monotonic() - began < 30

    def test_a_clean_stop_hands_over_at_once(self, cluster, tmp_path):
        first = OperatorProcess(cluster, tmp_path / "first").start()
        assert first.stop() == 0
        with running(cluster, tmp_path / "second") as second:
            assert second.answers("/livez")
