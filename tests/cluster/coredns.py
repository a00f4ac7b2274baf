"""Cluster DNS: names of Services and pods, and for every other name the answer that it does not exist."""

from typing import Any

from . import network
from .api import Api

_NAMESPACE = "kube-system"
_LABELS = {"k8s-app": "kube-dns"}
_REPLICAS = 2
# `template` has a block of its own: beside `kubernetes` it would answer first, and nothing would exist.
_COREFILE = f"""
.:53 {{
    errors
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
{network.CLUSTER_DOMAIN}:53 in-addr.arpa:53 {{
    errors
    health
    ready
    kubernetes {network.CLUSTER_DOMAIN} in-addr.arpa {{
        ttl 5
    }}
}}
"""


def deploy(api: Api, image: str, nodes: int) -> None:
    """Apply CoreDNS, running the image of that name, on the address that every pod's resolv.conf gives.

    `nodes`: how many nodes there are going to be for it.
    """
    for path, manifest in _objects(image, nodes):
        api.apply(path, manifest)


def is_available(api: Api) -> bool:
    """Whether cluster DNS answers on every node that it is to run on."""
    found = api.get(f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments/coredns") or {}
    return (found.get("status") or {}).get("availableReplicas", 0) >= _REPLICAS


def _object(kind: str, api_version: str, name: str, **content: Any) -> dict[str, Any]:
    metadata = {"name": name} if kind.startswith("ClusterRole") else {"name": name, "namespace": _NAMESPACE}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def _objects(image: str, nodes: int) -> list[tuple[str, dict[str, Any]]]:
    core, rbac = f"/api/v1/namespaces/{_NAMESPACE}", "/apis/rbac.authorization.k8s.io/v1"
    rbac_version = "rbac.authorization.k8s.io/v1"
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"}
    subjects = [{"kind": "ServiceAccount", "name": "coredns", "namespace": _NAMESPACE}]
    ports = [{"name": f"dns-{protocol.lower()}", "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    service = {"clusterIP": network.SERVICE_DNS, "selector": _LABELS, "ports": ports}
    return [
        (f"{core}/serviceaccounts/coredns", _object("ServiceAccount", "v1", "coredns")),
        (f"{rbac}/clusterroles/system:coredns", _object("ClusterRole", rbac_version, "system:coredns", rules=rules)),
        (
            f"{rbac}/clusterrolebindings/system:coredns",
            _object("ClusterRoleBinding", rbac_version, "system:coredns", roleRef=role, subjects=subjects),
        ),
        (f"{core}/configmaps/coredns", _object("ConfigMap", "v1", "coredns", data={"Corefile": _COREFILE})),
        (f"{core}/services/kube-dns", _object("Service", "v1", "kube-dns", spec=service)),
        (
            f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments/coredns",
            _object("Deployment", "apps/v1", "coredns", spec=_deployment(image, nodes)),
        ),
    ]


def _deployment(image: str, nodes: int) -> dict[str, Any]:
    container = {
        "name": "coredns",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/coredns", "-conf", "/etc/coredns/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "volumeMounts": [{"name": "corefile", "mountPath": "/etc/coredns"}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "corefile", "configMap": {"name": "coredns"}}],
        # One node may lose its power and names still resolve: also where the second node joins after the pods are made.
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "minDomains": min(nodes, _REPLICAS),
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": _LABELS},
            }
        ],
        "nodeSelector": {"type": "real"},
    }
    return {
        "replicas": _REPLICAS,
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }
