"""The chart as rendered by Helm: what it makes, what it refuses, and that nothing generated from it is out of date."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import manifests

from imageservice.api.v1alpha1 import KINDS, ImagePrecache
from imageservice.manifest import Manifest
from imageservice.releases import RELEASES
from imageservice.runtime import kinds
from imageservice.runtime.settings import Settings

CHART = manifests.CHART
NAMESPACE = "operators"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def helm(*arguments: str | Path, values: object = None) -> subprocess.CompletedProcess[str]:
    words = [manifests.helm(), *arguments, *(["--values", "-"] if values is not None else [])]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=60, input=json.dumps(values))


def render(values: object = None, release: str = "ours") -> list[Manifest]:
    done = helm("template", release, CHART, "--namespace", NAMESPACE, values=values or {})
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refusal(values: object) -> str:
    done = helm("template", "ours", CHART, values=values)
    assert done.returncode != 0, done.stdout
    return done.stderr


def of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    return [found for found in objects if found["kind"] == kind]


def only(objects: list[Manifest], kind: str) -> Manifest:
    (found,) = of_kind(objects, kind)
    return found


@pytest.fixture(scope="module")
def default() -> list[Manifest]:
    return render()


def pod_spec(objects: list[Manifest]) -> Manifest:
    spec: Manifest = only(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def environment(objects: list[Manifest]) -> dict[str, str]:
    (container,) = pod_spec(objects)["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def granted(rules: list[Manifest]) -> dict[tuple[str, str], set[str]]:
    """Return (group, resource) -> verbs."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


# What is generated


def test_the_chart_is_free_of_lint() -> None:
    done = helm("lint", CHART, "--strict")
    assert done.returncode == 0, done.stdout


def test_the_charts_crds_are_those_of_the_repository() -> None:
    assert manifests.outdated(manifests.crd_templates(), CHART / "templates" / "crds") == []


def test_the_install_manifest_is_what_the_chart_renders() -> None:
    assert manifests.outdated(manifests.install_manifest()) == []


def test_a_changed_or_forgotten_file_is_noticed(tmp_path: Path) -> None:
    files = {tmp_path / "same": "same\n", tmp_path / "other": "wanted\n", tmp_path / "missing": ""}
    for name in ("same", "other", "extra"):
        (tmp_path / name).write_text(f"{name}\n")
    assert {path.name for path in manifests.outdated(files, tmp_path)} == {"other", "missing", "extra"}


def test_the_install_manifest_makes_its_namespace_first_and_claims_no_helm() -> None:
    text = manifests.INSTALL.read_text()
    documents = [document for document in yaml.safe_load_all(text) if document]
    assert (documents[0]["kind"], documents[0]["metadata"]["name"]) == ("Namespace", manifests.NAMESPACE)
    assert "Helm" not in text.partition("---")[2]
    assert "helm.sh/" not in text
    namespaces = {document["metadata"].get("namespace") for document in documents}
    assert namespaces == {None, manifests.NAMESPACE}


# CRDs


def test_the_crds_of_the_chart_say_what_those_of_the_repository_say(default: list[Manifest]) -> None:
    sources = [yaml.safe_load(path.read_text()) for path in sorted((manifests.ROOT / "crds").glob("*.yaml"))]
    shipped = {crd["metadata"]["name"]: crd for crd in of_kind(default, "CustomResourceDefinition")}
    assert sorted(shipped) == sorted(source["metadata"]["name"] for source in sources)
    for source in sources:
        assert shipped[source["metadata"]["name"]]["spec"] == source["spec"]


def test_crds_survive_the_release_unless_told_otherwise(default: list[Manifest]) -> None:
    keep = {"helm.sh/resource-policy": "keep"}
    kept = of_kind(default, "CustomResourceDefinition")
    assert [crd["metadata"]["annotations"] for crd in kept] == [keep] * len(KINDS)
    loose = of_kind(render({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert ["annotations" in crd["metadata"] for crd in loose] == [False] * len(KINDS)


def test_crds_take_more_annotations() -> None:
    sync = {"argocd.argoproj.io/sync-options": "ServerSideApply=true"}
    annotated = of_kind(render({"crds": {"annotations": sync}}), "CustomResourceDefinition")
    assert all(crd["metadata"]["annotations"].items() >= sync.items() for crd in annotated)


def test_crds_can_be_left_out() -> None:
    assert of_kind(render({"crds": {"enabled": False}}), "CustomResourceDefinition") == []


def test_a_crd_that_would_be_read_as_a_template_is_refused() -> None:
    good = "# note\nkind: X\nmetadata:\n  name: x\nspec:\n  a: 1\n"
    assert yaml.safe_load("\n".join(re.sub(r"\{\{.*?\}\}", "", manifests.crd_template(good)).splitlines()))
    for bad in (good.replace("a: 1", "a: '{{ evil }}'"), good.replace("  name: x\n", "  name: x\n  labels: {}\n")):
        with pytest.raises(ValueError, match="CRD"):
            manifests.crd_template(bad)


# The pod


def test_the_pod_satisfies_the_restricted_pod_security_standard(default: list[Manifest]) -> None:
    spec = pod_spec(default)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_pod_is_probed_and_has_its_resources_and_its_token(default: list[Manifest]) -> None:
    spec = pod_spec(default)
    (container,) = spec["containers"]
    assert {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        "startupProbe": {"path": "/livez", "port": "health"},
        "livenessProbe": {"path": "/livez", "port": "health"},
        "readinessProbe": {"path": "/readyz", "port": "health"},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container["resources"]["limits"].keys() == {"memory"}
    assert spec["automountServiceAccountToken"] is True
    assert only(default, "ServiceAccount")["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == only(default, "ServiceAccount")["metadata"]["name"]


def test_the_operator_reads_its_settings_as_the_chart_means_them() -> None:
    values = {
        "watchNamespaces": ["one", "two"],
        "glanceImages": {"2025.1": "registry.example/glance:a", "2026.1": f"registry.example/glance@{DIGEST}"},
        "clusterDomain": "cluster.example",
        "operator": {"workers": 3, "resyncSeconds": 3600, "logLevel": "DEBUG"},
        "leaderElection": {"duration": 30, "renewDeadline": 20.5, "retry": 0.5},
        "healthPort": 9090,
    }
    objects = render(values)
    settings = Settings.from_environment({**environment(objects), "POD_NAMESPACE": NAMESPACE})
    assert settings.namespaces == ("one", "two")
    assert settings.glance_images == values["glanceImages"]
    assert settings.cluster_domain == "cluster.example"
    assert (settings.workers, settings.resync_seconds, settings.log_level) == (3, 3600.0, 10)
    lease = settings.lease
    assert (lease.namespace, lease.name) == (NAMESPACE, only(objects, "Deployment")["metadata"]["name"])
    assert (lease.duration, lease.renew_deadline, lease.retry) == (30.0, 20.5, 0.5)
    (container,) = pod_spec(objects)["containers"]
    assert container["ports"] == [{"name": "health", "containerPort": settings.health_port}]


def test_the_defaults_of_the_chart_are_those_of_the_operator(default: list[Manifest]) -> None:
    settings = Settings.from_environment(environment(default))
    plain = Settings.from_environment({})
    same = ("namespaces", "workers", "resync_seconds", "glance_images", "cluster_domain", "health_port", "log_level")
    assert {name: getattr(settings, name) for name in same} == {name: getattr(plain, name) for name in same}
    times = ("duration", "renew_deadline", "retry")
    assert [getattr(settings.lease, name) for name in times] == [getattr(plain.lease, name) for name in times]
    assert pod_spec(default)["terminationGracePeriodSeconds"] > plain.reconcile_seconds


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "imageservice.dev/image-service-operator:0.1.0"),
        ({"repository": "localhost/operator", "tag": "dev"}, "localhost/operator:dev"),
        ({"digest": DIGEST}, f"imageservice.dev/image-service-operator@{DIGEST}"),
    ],
)
def test_the_image_is_the_one_named(image: Manifest, expected: str) -> None:
    (container,) = pod_spec(render({"image": image}))["containers"]
    assert container["image"] == expected


def test_what_is_said_of_the_pod_reaches_the_pod() -> None:
    values = {
        "imagePullSecrets": [{"name": "registry-login"}],
        "priorityClassName": "high",
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "terminationGracePeriodSeconds": 45,
    }
    spec = pod_spec(render(values))
    assert {name: spec[name] for name in values} == values
    extra = {
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/ca/ca.crt"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        "podLabels": {"team": "images"},
        "podAnnotations": {"note": "x"},
    }
    objects = render(extra)
    assert environment(objects)["SSL_CERT_FILE"] == "/ca/ca.crt"
    assert pod_spec(objects)["volumes"] == extra["extraVolumes"]
    assert pod_spec(objects)["containers"][0]["volumeMounts"] == extra["extraVolumeMounts"]
    metadata = only(objects, "Deployment")["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "images"
    assert metadata["annotations"]["note"] == "x"


def test_replicas_are_spread_and_protected_and_a_single_one_holds_up_no_drain(default: list[Manifest]) -> None:
    deployment = only(default, "Deployment")
    selector = deployment["spec"]["selector"]
    assert deployment["spec"]["replicas"] == 2
    assert only(default, "PodDisruptionBudget")["spec"]["selector"] == selector
    assert pod_spec(default)["topologySpreadConstraints"] == [
        {
            "labelSelector": selector,
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
        }
    ]
    assert of_kind(render({"replicaCount": 1}), "PodDisruptionBudget") == []


def test_every_selector_finds_the_pods(default: list[Manifest]) -> None:
    labels = only(default, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        only(default, "Deployment")["spec"]["selector"]["matchLabels"],
        only(default, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(default, "Service")["spec"]["selector"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    assert only(default, "Service")["spec"]["ports"] == [{"name": "metrics", "port": 8080, "targetPort": "health"}]


# Rights

WRITTEN = {"get", "list", "watch", "create", "patch", "delete"}
RIGHTS = {
    kinds.IMAGE_SERVICE: {"get", "list", "watch", "patch"},
    kinds.IMAGE_STORE: {"get", "list", "watch", "patch"},
    kinds.CACHE_POLICY: {"get", "list", "watch", "patch"},
    kinds.IMAGE_PRECACHE: {"get", "list", "watch", "patch"},
    kinds.DEPLOYMENT: WRITTEN,
    kinds.DAEMON_SET: WRITTEN,
    kinds.JOB: WRITTEN,
    kinds.SERVICE: WRITTEN,
    kinds.SECRET: WRITTEN,
    kinds.POD_DISRUPTION_BUDGET: WRITTEN,
    kinds.ENDPOINT_SLICE: {"get", "list", "watch"},
    kinds.POD: {"get", "list"},
    kinds.PERSISTENT_VOLUME_CLAIM: {"get", "list", "watch"},
    kinds.CONFIG_MAP: {"get", "list", "watch"},
    kinds.EVENT: {"create"},
}
EXPECTED = {(kind.group, kind.plural): verbs for kind, verbs in RIGHTS.items()} | {
    ("imageservice.dev", f"{kind.resource.plural}/{part}"): {verb}
    for kind in KINDS
    for part, verb in (("status", "patch"), ("finalizers", "update"))
    if (kind, part) != (ImagePrecache, "finalizers")  # it has no children
}
OF_THE_CLUSTER = {(kinds.NODE.group, kinds.NODE.plural): {"list", "watch"}}
"""Rights to what is in no namespace."""


def test_the_operator_may_do_just_what_it_does(default: list[Manifest]) -> None:
    assert bound_to_the_cluster(default) == [EXPECTED, OF_THE_CLUSTER]


USER_ROLES = ("-view", "-edit", "-admin")


def bound_to_the_cluster(objects: list[Manifest]) -> list[dict[tuple[str, str], set[str]]]:
    """Return the rights of the operator's ClusterRoles, by name, and see that each of them is bound to it."""
    roles = [found for found in of_kind(objects, "ClusterRole") if not found["metadata"]["name"].endswith(USER_ROLES)]
    bindings = of_kind(objects, "ClusterRoleBinding")
    account = {"kind": "ServiceAccount", "name": "ours-image-service-operator", "namespace": NAMESPACE}
    names = sorted(role["metadata"]["name"] for role in roles)
    assert [binding["subjects"] for binding in bindings] == [[account]] * len(roles)
    assert sorted(binding["roleRef"]["name"] for binding in bindings) == names
    return [granted(role["rules"]) for role in sorted(roles, key=lambda role: str(role["metadata"]["name"]))]


def test_no_right_is_a_wildcard() -> None:
    for values in ({}, {"watchNamespaces": ["one"]}):
        roles = of_kind(render(values), "ClusterRole") + of_kind(render(values), "Role")
        words = [word for role in roles for rule in role["rules"] for part in rule.values() for word in part]
        assert words
        assert [word for word in words if "*" in word] == []


def test_leases_are_a_right_in_the_own_namespace_only(default: list[Manifest]) -> None:
    role = only(default, "Role")
    name = only(default, "Deployment")["metadata"]["name"]
    assert role["metadata"]["namespace"] == NAMESPACE
    assert role["rules"] == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": [name],
            "verbs": ["get", "update"],
        },
    ]


def test_with_namespaces_given_there_are_no_rights_in_others() -> None:
    objects = render({"watchNamespaces": ["one", "two"]})
    assert bound_to_the_cluster(objects) == [OF_THE_CLUSTER]
    watching = [role for role in of_kind(objects, "Role") if not role["metadata"]["name"].endswith("-leader-election")]
    assert {role["metadata"]["namespace"]: granted(role["rules"]) for role in watching} == {
        "one": EXPECTED,
        "two": EXPECTED,
    }
    bound = {found["metadata"]["namespace"]: found["subjects"] for found in of_kind(objects, "RoleBinding")}
    account = {"kind": "ServiceAccount", "name": "ours-image-service-operator", "namespace": NAMESPACE}
    assert bound == {"one": [account], "two": [account], NAMESPACE: [account]}


def test_rights_and_the_account_can_be_left_to_others() -> None:
    objects = render(
        {"rbac": {"create": False}, "userRoles": {"create": False, "aggregate": False}}
        | {"serviceAccount": {"create": False, "name": "theirs"}}
    )
    kept = {found["kind"] for found in objects}
    assert kept == {"CustomResourceDefinition", "Deployment", "PodDisruptionBudget", "Service"}
    assert pod_spec(objects)["serviceAccountName"] == "theirs"


def test_people_get_our_kinds_with_the_clusters_own_roles(default: list[Manifest]) -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    aggregated: dict[str, dict[tuple[str, str], set[str]]] = {}
    for role in of_kind(default, "ClusterRole"):
        for label in role["metadata"]["labels"]:
            if label.startswith(prefix):
                sums = aggregated.setdefault(label.removeprefix(prefix), {})
                for key, verbs in granted(role["rules"]).items():
                    sums[key] = sums.get(key, set()) | verbs
    verbs = {name: rights["imageservice.dev", "imageservices"] for name, rights in aggregated.items()}
    look = {"get", "list", "watch"}
    write = look | {"create", "update", "patch", "delete"}
    assert verbs == {"view": look, "edit": write, "admin": write | {"deletecollection"}}
    assert "patch" in aggregated["edit"]["imageservice.dev", "imageservices/scale"]
    loose = [role["metadata"]["labels"] for role in of_kind(render({"userRoles": {"aggregate": False}}), "ClusterRole")]
    assert not any(label.startswith(prefix) for labels in loose for label in labels)


# Names


def test_two_releases_share_no_name_but_the_crds() -> None:
    def names(release: str) -> set[tuple[str, str]]:
        return {
            (found["kind"], found["metadata"]["name"])
            for found in render(release=release)
            if found["kind"] != "CustomResourceDefinition"
        }

    assert not names("one") & names("two")


@pytest.mark.parametrize("release", ["r" * 53, "image-service-operator"])
def test_names_are_legal_for_every_release_name(release: str) -> None:
    for found in render(release=release):
        if found["kind"] in ("Deployment", "Service", "ServiceAccount"):
            assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", found["metadata"]["name"])


def test_every_object_is_labelled_and_none_passes_for_one_of_the_operators_own(default: list[Manifest]) -> None:
    for found in default:
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "image-service"
        assert labels["app.kubernetes.io/managed-by"] != "image-service-operator"


# Values


def leaves(schema: Manifest, path: str = "") -> set[str]:
    found: set[str] = set()
    for name, entry in schema.get("properties", {}).items():
        inner = leaves(entry, f"{path}{name}.") if entry.get("additionalProperties") is False else set()
        found |= inner or {path + name}
    return found


def keys(values: Any, schema: Manifest, path: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in values.items():
        entry = schema["properties"].get(name, {})
        closed = entry.get("additionalProperties") is False and value
        found |= keys(value, entry, f"{path}{name}.") if closed else {path + name}
    return found


def test_the_schema_and_the_documented_values_name_the_same_keys() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    empty_by_default = {"glanceImages", "affinity"}
    expected = {key for key in leaves(schema) if key.partition(".")[0] not in empty_by_default}
    assert keys(values, schema) - empty_by_default == expected - {"global", "resources.claims"}


def test_the_schema_knows_every_release() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]["glanceImages"]["properties"]) == set(RELEASES)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"replicas": 3}, "replicas"),
        ({"crds": {"kep": True}}, "kep"),
        ({"image": {"tagg": "x"}}, "tagg"),
        ({"glanceImages": {"2024.1": "x"}}, "2024.1"),
        ({"replicaCount": "two"}, "replicaCount"),
        ({"watchNamespaces": ["Bad_Name"]}, "watchNamespaces"),
        ({"watchNamespaces": ["a", "a"]}, "watchNamespaces"),
        ({"operator": {"logLevel": "LOUD"}}, "logLevel"),
        ({"image": {"digest": "sha256:short"}}, "digest"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(values: Manifest, told: str) -> None:
    assert told in refusal(values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"serviceAccount": {"create": False}}, "name the existing ServiceAccount in serviceAccount.name"),
        ({"leaderElection": {"duration": 10}}, "leaderElection needs duration > renewDeadline > retry, not 10, 10, 2"),
        ({"userRoles": {"create": False}}, "userRoles.aggregate needs userRoles.create"),
        ({"podDisruptionBudget": {"maxUnavailable": 2}}, "podDisruptionBudget.maxUnavailable is 2 of 2 replicas"),
        ({"crds": {"enabled": False, "annotations": {"a": "b"}}}, "there is nothing to annotate"),
        ({"crds": {"annotations": {"helm.sh/resource-policy": "keep"}}}, "is what crds.keep is for"),
        ({"podLabels": {"app.kubernetes.io/name": "x"}}, "is how the Deployment finds its pods"),
        ({"extraEnv": [{"name": "IMAGE_SERVICE_OPERATOR_WORKERS", "value": "1"}]}, "is set by the chart"),
    ],
)
def test_a_combination_that_cannot_work_is_refused_with_a_sentence(values: Manifest, sentence: str) -> None:
    assert sentence in refusal(values)
