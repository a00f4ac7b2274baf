"""Properties of every child: stable, legal, restricted, and without a secret where none belongs."""

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from tests.unit.render import samples
from tests.unit.render.test_names import LONGEST, OBJECT_NAMES

from imageservice.manifest import Manifest
from imageservice.render.config_secret import config_secret
from imageservice.render.database_job import database_job, database_secret
from imageservice.render.deployment import deployment
from imageservice.render.glance_config import in_order
from imageservice.render.inputs import ApplicationCredential, ImageServiceInputs
from imageservice.render.labels import COMPONENT_API, pod_selector
from imageservice.render.poddisruptionbudget import pod_disruption_budget
from imageservice.render.service import service, service_url
from imageservice.render.store_monitor import PROGRAMS
from imageservice.render.store_secret import store_secret
from imageservice.sensitive import Sensitive


def children(inputs: ImageServiceInputs) -> list[Manifest]:
    """Return all children, as a reconcile makes them."""
    config, database = config_secret(inputs), database_secret(inputs)
    budget = pod_disruption_budget(inputs)
    return [
        config,
        database,
        service(inputs),
        deployment(inputs, config["metadata"]["name"]),
        database_job(inputs, "prepare", database["metadata"]["name"]),
        database_job(inputs, "sync", database["metadata"]["name"]),
        *([budget] if budget else []),
        *(secret for store in in_order(inputs) if (secret := store_secret(inputs, store))),
    ]


def pod_templates(inputs: ImageServiceInputs) -> list[Manifest]:
    """Return the templates of all pods."""
    return [child["spec"]["template"] for child in children(inputs) if "template" in child.get("spec", {})]


FULL = {
    "api": {
        "replicas": 3,
        "nodeSelector": {"b": "2", "a": "1"},
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    },
    "imagePullSecrets": [{"name": "registry-login"}],
    "extraConfig": {"DEFAULT": {"debug": "true", "image_size_cap": "1"}, "cors": {"allowed_origin": "*"}},
}


@given(OBJECT_NAMES)
@example(LONGEST)
@example("1.2")
@settings(max_examples=25, deadline=None)
def test_every_name_and_label_is_legal_for_every_legal_name_of_a_service(name: str) -> None:
    found = children(samples.inputs(name=name))
    assert len({(child["kind"], child["metadata"]["name"]) for child in found}) == len(found)
    for child in found:
        assert len(child["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in child["metadata"]["labels"].values())
        assert child["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "image-service-operator"
        assert child["metadata"]["ownerReferences"][0]["name"] == name
        assert child["metadata"]["ownerReferences"][0]["controller"] is True


def test_the_same_input_gives_the_same_children_in_whatever_order_it_comes() -> None:
    stores = [samples.store("central"), samples.store("b"), *(samples.store_of(kind) for kind in samples.MEMBERS)]
    expected = children(samples.inputs(stores=tuple(stores), **FULL))
    for seed in range(5):
        shuffled = random.Random(seed).sample(stores, len(stores))
        changes: dict[str, Any] = json.loads(json.dumps(_reversed(FULL)))
        mixed = samples.other(samples.inputs(stores=tuple(shuffled), **changes), default_store_id="central")
        assert children(mixed) == expected


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return value


def test_no_secret_is_in_anything_but_secrets() -> None:
    credential = ApplicationCredential("credential-id-5d", Sensitive("credential-secret-e8"))
    for inputs in (samples.inputs(**FULL), samples.inputs(credentials=credential)):
        for child in children(inputs):
            text = json.dumps(child)
            assert child["kind"] == "Secret" or not [
                secret for secret in ("secret-e8", samples.PASSWORD, "database-secret-71aa") if secret in text
            ]
        assert "secret-e8" not in repr(inputs)
        assert "secret-71aa" not in repr(inputs)


CONFIG_CHANGES: dict[str, dict[str, Any]] = {
    "password": {"credentials": samples.PasswordCredential("glance", Sensitive("another"), "service")},
    "database": {"database_url": f"{samples.DATABASE_URL}2"},
    "stores": {"stores": (samples.store("central"), samples.store("second"))},
    "description": {"stores": (samples.store("central", description="new"),)},
    "processes": {"api": {"processes": 3}},
    "threads": {"api": {"threads": 3}},
    "grace": {"api": {"terminationGracePeriodSeconds": 60}},
    "memcached": {
        "identity": {
            "authURL": "http://keystone.example:5000/v3",
            "secretRef": {"name": "x"},
            "memcachedServers": ["m:11211"],
            "catalog": {"register": False},
        }
    },
    "extraConfig": {"extraConfig": {"DEFAULT": {"debug": "true"}}},
}


@pytest.mark.parametrize("change", CONFIG_CHANGES)
def test_whatever_changes_the_config_gives_its_secret_another_name_and_so_rolls_the_pods(change: str) -> None:
    before, after = config_secret(samples.inputs()), config_secret(samples.inputs(**CONFIG_CHANGES[change]))
    assert before["metadata"]["name"] != after["metadata"]["name"]
    assert before["immutable"] is True


@pytest.mark.parametrize("change", [{"api": {"replicas": 9}}, {"api": {"nodeSelector": {"a": "b"}}}])
def test_what_does_not_change_the_config_leaves_its_secret_alone(change: dict[str, Any]) -> None:
    assert config_secret(samples.inputs()) == config_secret(samples.inputs(**change))


def test_an_object_made_anew_gets_secrets_of_other_names() -> None:
    one, other = samples.inputs(), samples.other(samples.inputs(), uid="another")
    assert config_secret(one)["metadata"]["name"] != config_secret(other)["metadata"]["name"]


def test_two_sites_with_the_same_files_have_a_config_secret_each() -> None:
    centre, edge = samples.inputs(), samples.other(samples.inputs(), edge="dcn0")
    assert config_secret(centre)["data"] == config_secret(edge)["data"]
    assert config_secret(centre)["metadata"]["name"] != config_secret(edge)["metadata"]["name"]


def test_scaling_changes_the_number_of_pods_and_nothing_else() -> None:
    two, five = (deployment(samples.inputs(api={"replicas": count}), "c") for count in (2, 5))
    assert (two["spec"].pop("replicas"), five["spec"].pop("replicas")) == (2, 5)
    assert two == five


def test_every_pod_passes_the_restricted_pod_security_standard() -> None:
    stores = (samples.store(volume=samples.NFS), *(samples.store_of(kind) for kind in ("Ceph", "S3", "Swift")))
    for template in pod_templates(samples.inputs(stores=stores)):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert not [port for port in container.get("ports", []) if "hostPort" in port]
        allowed = {"name", "secret", "projected", "emptyDir", "persistentVolumeClaim"}
        for volume in pod["volumes"]:
            # NFS is what the user asked for; the standard lets everything but such volumes pass.
            assert set(volume) <= allowed or volume["name"] == "store-central"


def test_secrets_are_readable_by_the_group_of_the_pod_and_by_nobody_else() -> None:
    for template in pod_templates(samples.inputs()):
        modes = [volume["secret"]["defaultMode"] for volume in template["spec"]["volumes"] if "secret" in volume]
        assert modes == [0o440]
        assert template["spec"]["securityContext"]["fsGroup"] == template["spec"]["securityContext"]["runAsGroup"]


def test_every_volume_is_mounted_and_every_mount_has_its_volume() -> None:
    stores = (samples.store("central"), samples.store("a_b", samples.NFS), samples.store("c", samples.EMPTY_DIR))
    for template in pod_templates(samples.inputs(stores=stores)):
        mounts = template["spec"]["containers"][0]["volumeMounts"]
        assert sorted(mount["name"] for mount in mounts) == sorted(v["name"] for v in template["spec"]["volumes"])
        assert len({mount["mountPath"] for mount in mounts}) == len(mounts)


def test_each_kind_of_store_volume_becomes_the_pods_volume() -> None:
    stores = (
        samples.store("central"),
        samples.store("n", samples.NFS),
        samples.store("e", {"type": "EmptyDir", "emptyDir": {"sizeLimit": "10Gi"}}),
        samples.store("f", samples.EMPTY_DIR),
    )
    volumes = deployment(samples.inputs(stores=stores), "c")["spec"]["template"]["spec"]["volumes"]
    assert [volume for volume in volumes if volume["name"].startswith("store-")] == [
        {"name": "store-central", "persistentVolumeClaim": {"claimName": "images"}},
        {"name": "store-e", "emptyDir": {"sizeLimit": "10Gi"}},
        {"name": "store-f", "emptyDir": {}},
        {"name": "store-n", "nfs": {"server": "nfs.example", "path": "/exports/images"}},
    ]


def test_a_rolling_update_adds_a_pod_before_it_takes_one() -> None:
    strategy = deployment(samples.inputs(), "c")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_old_pods_go_first_where_stores_cannot_be_shared() -> None:
    alone = samples.inputs(stores=(samples.store(shared=False),))
    assert deployment(alone, "c")["spec"]["strategy"] == {"type": "Recreate"}


def test_a_pod_leaves_the_service_before_it_stops_listening() -> None:
    pod = deployment(samples.inputs(api={"terminationGracePeriodSeconds": 90}), "c")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 90
    assert pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == [
        *("/bin/sh", "-c", "touch /run/glance/disabled; sleep 10")
    ]


def test_a_pod_that_is_only_busy_is_not_restarted() -> None:
    container = deployment(samples.inputs(), "c")["spec"]["template"]["spec"]["containers"][0]
    assert container["livenessProbe"]["tcpSocket"] == {"port": "http"}
    assert "httpGet" not in container["livenessProbe"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/healthcheck"


def test_the_spread_is_over_nodes_unless_asked_otherwise() -> None:
    (constraint,) = deployment(samples.inputs(), "c")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    (asked,) = deployment(samples.inputs(**FULL), "c")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (asked["topologyKey"], asked["maxSkew"]) == ("topology.kubernetes.io/zone", 2)
    assert asked["labelSelector"] == {"matchLabels": pod_selector("glance", COMPONENT_API)}


def test_resources_are_those_of_the_spec_and_none_where_it_has_none() -> None:
    with_resources = deployment(samples.inputs(**FULL), "c")["spec"]["template"]["spec"]["containers"][0]
    assert with_resources["resources"] == {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    assert "resources" not in deployment(samples.inputs(), "c")["spec"]["template"]["spec"]["containers"][0]


def test_jobs_run_where_the_api_runs_and_pull_the_same_image() -> None:
    api, prepare, sync = (template["spec"] for template in pod_templates(samples.inputs(**FULL)))
    for job in (prepare, sync):
        for field in ("nodeSelector", "tolerations", "imagePullSecrets"):
            assert job[field] == api[field]
        assert job["containers"][0]["image"] == api["containers"][0]["image"]
        assert job["restartPolicy"] == "Never"


def test_a_job_is_another_one_as_soon_as_it_would_do_something_else() -> None:
    names = [
        database_job(inputs, step, database_secret(inputs)["metadata"]["name"])["metadata"]["name"]
        for inputs in (
            samples.inputs(),
            samples.inputs(release="2026.2"),
            samples.inputs(database_url="mysql://other/x"),
        )
        for step in ("prepare", "sync")
    ]
    assert len(set(names)) == 6


def test_the_selector_of_the_service_and_the_budget_is_that_of_the_pods() -> None:
    inputs = samples.inputs()
    pods = deployment(inputs, "c")["spec"]["template"]["metadata"]["labels"]
    budget = pod_disruption_budget(inputs)
    assert budget is not None
    for selector in (service(inputs)["spec"]["selector"], budget["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= pods.items()
    for template in pod_templates(inputs)[1:]:
        assert not service(inputs)["spec"]["selector"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize(("replicas", "budgeted"), [(0, False), (1, False), (2, True), (64, True)])
def test_a_budget_never_blocks_the_drain_of_a_node(replicas: int, budgeted: bool) -> None:
    budget = pod_disruption_budget(samples.inputs(api={"replicas": replicas}))
    assert (budget is not None) is budgeted
    if budget:
        assert budget["spec"]["maxUnavailable"] == 1


def test_the_url_of_the_service_is_fully_qualified() -> None:
    inputs = samples.other(samples.inputs(name="eu.glance"), cluster_domain="k8s.example")
    name = service(inputs)["metadata"]["name"]
    assert service_url(inputs) == f"http://{name}.openstack.svc.k8s.example:9292"


def test_the_files_of_a_secret_are_the_rendered_ones() -> None:
    data = config_secret(samples.inputs())["data"]
    ours = {"glance-api.conf", "glance-api-paste.ini", "gunicorn.conf.py", "stores.json", "agent-token"}
    assert set(data) == {*ours, *PROGRAMS}
    assert b"database-secret-71aa" in base64.b64decode(data["glance-api.conf"])
    assert set(database_secret(samples.inputs())["data"]) == {"url", "glance-manage.conf", "database.py"}
