"""What an image service stands on: MariaDB, Keystone, shared storage, and the operator itself, installed with Helm."""

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import images
from tests.cluster.cluster import Cluster

REPOSITORY = Path(__file__).resolve().parents[1]
CHART = REPOSITORY / "charts" / "image-service-operator"
OPERATOR_NAMESPACE = "image-service-operator"
GLANCE_UID = 42415
PASSWORDS = {"database": "demo-database", "admin": "demo-admin", "glance": "demo-glance", "demo": "demo-password"}

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """One server of the platform: its image, port, environment, and the directories that it writes to."""

    name: str
    port: int
    uid: int
    environment: dict[str, str]
    directories: tuple[str, ...]
    probe: Manifest


MARIADB = Server(
    "mariadb",
    3306,
    10001,
    {"MARIADB_DATABASE": "glance", "MARIADB_USER": "glance", "MARIADB_PASSWORD": PASSWORDS["database"]},
    ("/var/lib/mysql", "/run/mysqld"),
    {"tcpSocket": {"port": 3306}},
)
KEYSTONE = Server(
    "keystone",
    5000,
    10002,
    {
        "KEYSTONE_ADMIN_PASSWORD": PASSWORDS["admin"],
        "KEYSTONE_GLANCE_PASSWORD": PASSWORDS["glance"],
        "KEYSTONE_DEMO_PASSWORD": PASSWORDS["demo"],
        "KEYSTONE_PUBLIC_URL": "http://keystone:5000/v3",
    },
    ("/var/lib/keystone", "/tmp"),
    {"httpGet": {"path": "/v3", "port": 5000}},
)


def namespace(name: str) -> Manifest:
    """A namespace that takes restricted pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def server(server: Server, home: str) -> list[Manifest]:
    """The Deployment and the Service of one server; its data live as long as its pod."""
    labels = {"app": server.name}
    volumes = [{"name": f"data-{number}", "emptyDir": {}} for number, _ in enumerate(server.directories)]
    mounts = [{"name": v["name"], "mountPath": d} for v, d in zip(volumes, server.directories, strict=True)]
    container = {
        "name": server.name,
        "image": images.reference(server.name),
        "env": [{"name": key, "value": value} for key, value in server.environment.items()],
        "ports": [{"containerPort": server.port}],
        "readinessProbe": {**server.probe, "periodSeconds": 1},
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": server.uid,
            "runAsGroup": server.uid,
            "fsGroup": server.uid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
        "volumes": volumes,
    }
    metadata = {"name": server.name, "namespace": home}
    template = {"metadata": {"labels": labels}, "spec": pod}
    deployment = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    service = {"selector": labels, "ports": [{"port": server.port}]}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    ]


def secrets(home: str) -> list[Manifest]:
    """The three Secrets that an ImageService refers to."""
    user = {"username": "glance", "password": PASSWORDS["glance"], "project_name": "service"}
    admin = {"username": "admin", "password": PASSWORDS["admin"], "project_name": "admin"}
    url = f"mysql+pymysql://glance:{PASSWORDS['database']}@mariadb.{home}.svc.cluster.local:3306/glance"
    return [
        secret(home, "glance-db", {"url": url}),
        secret(home, "glance-service-user", user),
        secret(home, "keystone-admin", admin),
    ]


def secret(home: str, name: str, values: dict[str, str]) -> Manifest:
    """A Secret of plain text values."""
    data = {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": home}, "data": data}


def shared_storage(cluster: Cluster, home: str) -> list[Manifest]:
    """A ReadWriteMany claim on a directory that all nodes share; it stands for NFS or CephFS."""
    assert cluster.shared is not None
    name = f"{home}-images"
    directory = cluster.shared / name
    directory.mkdir(exist_ok=True)
    os.chown(directory, GLANCE_UID, GLANCE_UID)
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "capacity": {"storage": "10Gi"},
        "claimRef": {"namespace": home, "name": "images"},
        "hostPath": {"path": f"{cluster.SHARED_ON_NODES}/{name}", "type": "Directory"},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    claim = {"resources": {"requests": {"storage": "10Gi"}}, "volumeName": name}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": common | volume},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "images", "namespace": home},
            "spec": common | claim,
        },
    ]


def image_service(home: str, **spec: Any) -> Manifest:
    """The ImageService of the quickstart, at home in this cluster."""
    identity = {
        "authURL": f"http://keystone.{home}.svc.cluster.local:5000/v3",
        "secretRef": {"name": "glance-service-user"},
        "catalog": {"secretRef": {"name": "keystone-admin"}, "publicURL": "http://image.demo.example"},
    }
    wanted = {
        "release": "2026.1",
        "api": {"replicas": 2, "terminationGracePeriodSeconds": 60},
        "database": {"secretRef": {"name": "glance-db"}},
        "identity": identity,
    }
    return {
        "apiVersion": "imageservice.dev/v1alpha1",
        "kind": "ImageService",
        "metadata": {"name": "glance", "namespace": home},
        "spec": wanted | spec,
    }


def image_store(home: str, name: str = "central", **spec: Any) -> Manifest:
    """The ImageStore of the quickstart."""
    volume = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "images"}}
    wanted = {"imageServiceRef": {"name": "glance"}, "type": "Filesystem", "filesystem": {"volume": volume}}
    return {
        "apiVersion": "imageservice.dev/v1alpha1",
        "kind": "ImageStore",
        "metadata": {"name": name, "namespace": home},
        "spec": wanted | spec,
    }


def install_operator(cluster: Cluster, releases: tuple[str, ...] = ("2026.1",), **values: str) -> None:
    """Install the operator with Helm, as a user would, and wait until it runs."""
    cluster.apply(namespace(OPERATOR_NAMESPACE))
    repository, _, tag = images.reference("operator").rpartition(":")
    settings = {"image.repository": repository, "image.tag": tag}
    for release in releases:
        escaped = release.replace(".", "\\.")
        settings[f"glanceImages.{escaped}"] = images.reference(f"glance-{release}")
    command: list[str | Path] = ["helm", "upgrade", "--install", "image-service-operator", CHART]
    command += ["--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "120s"]
    for key, value in (settings | values).items():
        command += ["--set-string" if key.endswith(("tag", "repository")) else "--set", f"{key}={value}"]
    cluster.run(command, timeout=150)


def service_url(cluster: Cluster, home: str, name: str) -> str:
    """The URL of a Service by its cluster address, which the cluster's network reaches without its DNS."""
    spec = json.loads(cluster.kubectl("-n", home, "get", "service", name, "-o", "json").stdout)["spec"]
    return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"
