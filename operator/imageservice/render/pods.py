"""What all our pods have in common: they pass the restricted Pod Security Standard and write only to volumes."""

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


def secret_volume(name: str, secret_name: str) -> Manifest:
    """Return a volume with the files of a Secret."""
    return {"name": name, "secret": {"secretName": secret_name, "defaultMode": SECRET_MODE}}


def empty_dir(name: str, **options: str) -> Manifest:
    """Return a volume that lives as long as the pod. `options`: `medium`, `sizeLimit`."""
    return {"name": name, "emptyDir": options}
