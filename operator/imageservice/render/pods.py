"""What all our pods have in common: they pass the restricted Pod Security Standard and write only to volumes."""

from collections.abc import Iterable

from imageservice.manifest import Manifest
from imageservice.render.inputs import ImageServiceInputs

GLANCE_UID = 42415
"""User and group of Glance in its images (the id that the images of Kolla gave it first)."""
SECRET_MODE = 0o440
"""Mode of files from a Secret: for Glance's group only, which is the pod's fsGroup."""


def pod_spec(inputs: ImageServiceInputs, containers: list[Manifest], volumes: list[Manifest]) -> Manifest:
    """Return the part of a pod's spec that the API pods and the database Jobs share. The main container comes first."""
    api = inputs.spec.api
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": GLANCE_UID,
            "runAsGroup": GLANCE_UID,
            "fsGroup": GLANCE_UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [restricted_container(inputs.image, container) for container in containers],
        "volumes": volumes,
    }
    if inputs.spec.image_pull_secrets:
        spec["imagePullSecrets"] = [secret.to_manifest() for secret in inputs.spec.image_pull_secrets]
    if api.node_selector:
        spec["nodeSelector"] = dict(api.node_selector)
    if api.tolerations:
        spec["tolerations"] = [toleration.to_manifest() for toleration in api.tolerations]
    return spec


def restricted_container(image: str, container: Manifest) -> Manifest:
    """Return the container, run from `image` with no privilege at all."""
    return {
        "name": container["name"],
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        **container,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def with_node_privileges(spec: Manifest) -> Manifest:
    """Return the pod with all that attaching volumes of the node takes: root, every privilege, the node's processes.

    That is for its first container; the others stay as they are.

    No namespace with a Pod Security Standard takes it, so nothing but what cannot be otherwise should ask for it.
    """
    pod = spec["securityContext"] | {"runAsNonRoot": False, "runAsUser": 0, "runAsGroup": 0}
    container = spec["containers"][0] | {
        "securityContext": {"privileged": True, "allowPrivilegeEscalation": True, "readOnlyRootFilesystem": True}
    }
    others = [_as_glance(other) for other in spec["containers"][1:]]
    return spec | {"hostPID": True, "securityContext": pod, "containers": [container, *others]}


def _as_glance(container: Manifest) -> Manifest:
    """Return a container that is not root although its pod is."""
    user = {"runAsNonRoot": True, "runAsUser": GLANCE_UID, "runAsGroup": GLANCE_UID}
    return container | {"securityContext": {**container["securityContext"], **user}}


def alive_probe(port_name: str) -> Manifest:
    """Return the liveness probe of our own programs, which answer at `/healthz` of a port."""
    return {
        "httpGet": {"path": "/healthz", "port": port_name, "scheme": "HTTP"},
        "periodSeconds": 20,
        "timeoutSeconds": 5,
        "failureThreshold": 6,
        "successThreshold": 1,
    }


def secret_volume(name: str, secret_name: str) -> Manifest:
    """Return a volume with the files of a Secret."""
    return {"name": name, "secret": {"secretName": secret_name, "defaultMode": SECRET_MODE}}


def projected_volume(name: str, secret_names: Iterable[str]) -> Manifest:
    """Return a volume with the files of several Secrets in one directory; what changes in them changes in the pods."""
    sources = [{"secret": {"name": secret_name}} for secret_name in secret_names]
    return {"name": name, "projected": {"sources": sources, "defaultMode": SECRET_MODE}}


def host_path(name: str, path: str, kind: str) -> Manifest:
    """Return a directory of the node. `kind`: Directory, or DirectoryOrCreate."""
    return {"name": name, "hostPath": {"path": path, "type": kind}}


def empty_dir(name: str, **options: str) -> Manifest:
    """Return a volume that lives as long as the pod. `options`: `medium`, `sizeLimit`."""
    return {"name": name, "emptyDir": options}
