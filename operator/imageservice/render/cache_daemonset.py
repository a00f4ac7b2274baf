"""The DaemonSet of a CachePolicy: on each node an API with its cache, and beside it the agent that keeps it filled."""

import itertools
import math
from collections.abc import Sequence

from imageservice.api.shares import int_or_text
from imageservice.api.v1alpha1 import CacheEmptyDir, CacheVolume
from imageservice.manifest import Manifest
from imageservice.render import glance_config
from imageservice.render.api_pod import CONFIG_MOUNT, CONTAINER, TEMPORARY, api_container, working_volumes
from imageservice.render.cache_config import CACHE_ROOT, PROGRAM, config_items
from imageservice.render.cache_inputs import CacheInputs, NodeLabels, size_in_bytes
from imageservice.render.cache_labels import cache_labels, cache_metadata, cache_name, cache_selector
from imageservice.render.labels import site_service_selector
from imageservice.render.pods import SECRET_MODE, alive_probe, pod_spec
from imageservice.render.ports import AGENT_PORT, AGENT_PORT_NAME, API_PORT
from imageservice.render.store_mounts import store_mounts, store_variables, with_store_privileges
from imageservice.render.store_secret import content_annotations

AGENT = "cache-agent"
CACHE_VOLUME = "cache"

MOST_TERMS = 64
"""The most ways in which a node may be none of the older policies': more make the scheduler slow on every pod."""

HEADROOM = (11, 10)
"""The volume has a tenth more than `maxSize`: file systems need some of it for themselves."""
EVICTED_AT = 2
"""So many times `maxSize` an EmptyDir on disk may hold before the kubelet evicts the pod: what clients read through the
cache may lie there beside it until the agent prunes."""


def daemon_set(inputs: CacheInputs, config: Manifest) -> Manifest:
    """Build the DaemonSet; its pods read the config Secret `config`. Raises ValueError for what cannot be rendered."""
    served = glance_config.in_order(inputs.site)
    pod = with_store_privileges(pod_spec(inputs.site, _containers(inputs), _volumes(inputs, config)), served)
    if inputs.older:
        pod |= {"affinity": _affinity(inputs.older)}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": cache_metadata(inputs, cache_name(inputs.name)),
        "spec": {
            "selector": {"matchLabels": cache_selector(inputs.name)},
            "minReadySeconds": 5,
            "revisionHistoryLimit": 3,
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {
                    "maxSurge": 0,
                    "maxUnavailable": int_or_text(inputs.spec.update_strategy.max_unavailable),
                },
            },
            "template": {
                "metadata": {
                    "labels": _pod_labels(inputs),
                    "annotations": {
                        "kubectl.kubernetes.io/default-container": CONTAINER,
                        **content_annotations(inputs.site, served),
                    },
                },
                "spec": {**pod, "terminationGracePeriodSeconds": inputs.spec.termination_grace_period_seconds},
            },
        },
    }


def terms(older: Sequence[NodeLabels]) -> list[dict[str, list[str]]] | None:
    """Return in which ways a node may be none of these policies': each way, label -> values that it has not.

    A node is one of a policy's where it has all labels of its selector; so it is none of them where of each it lacks
    one. None where there is no way, as a policy without a selector has every node, or where there are too many ways.
    """
    if not 0 < math.prod(map(len, older)) <= MOST_TERMS:
        return None
    found: list[dict[str, list[str]]] = []
    for chosen in itertools.product(*(sorted(labels.items()) for labels in older)):
        way: dict[str, list[str]] = {}
        for key, value in sorted({*chosen}):
            way.setdefault(key, []).append(value)
        if way not in found:
            found.append(way)
    return found


def _affinity(older: Sequence[NodeLabels]) -> Manifest:
    found = terms(older)
    if found is None:
        raise ValueError("older policies have too many selectors between them")
    ways = [
        {"matchExpressions": [{"key": key, "operator": "NotIn", "values": values} for key, values in way.items()]}
        for way in found
    ]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": ways}}}


def _pod_labels(inputs: CacheInputs) -> dict[str, str]:
    joined = site_service_selector(inputs.site) if inputs.spec.exposure.join_site_service else {}
    return {**cache_labels(inputs), **joined}


# ---------------------------------------------------------------------------------------------------------- containers


def _containers(inputs: CacheInputs) -> list[Manifest]:
    return [_api(inputs), _agent(inputs)]


def _api(inputs: CacheInputs) -> Manifest:
    container = api_container(inputs.site)
    [port] = container["ports"]
    host_port = inputs.spec.exposure.host_port
    return container | {
        "env": [*container["env"], *_IDENTITY],
        "ports": [port if host_port is None else {**port, "hostPort": host_port}],
        "volumeMounts": [*container["volumeMounts"], _CACHE_MOUNT],
    }


def _agent(inputs: CacheInputs) -> Manifest:
    served = glance_config.in_order(inputs.site)
    container: Manifest = {
        "name": AGENT,
        # -B: Python would try in vain to write byte code beside the programs.
        "command": ["python3", "-B", "-m", PROGRAM],
        "env": [
            {"name": "PYTHONPATH", "value": glance_config.CONFIG_DIR},
            {"name": "OS_GLANCE_CONFIG_DIR", "value": glance_config.CONFIG_DIR},
            {"name": "HOME", "value": TEMPORARY},
            {"name": "MALLOC_ARENA_MAX", "value": "2"},
            {"name": "POD_IPS", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}}},
            *store_variables(served),
            *_IDENTITY,
        ],
        "ports": [{"name": AGENT_PORT_NAME, "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "livenessProbe": alive_probe(AGENT_PORT_NAME),
        "volumeMounts": [
            CONFIG_MOUNT,
            {"name": "tmp", "mountPath": TEMPORARY},
            {"name": "run", "mountPath": glance_config.RUN_DIR},
            *store_mounts(served),
            _CACHE_MOUNT,
        ],
    }
    if inputs.spec.prefetcher_resources is not None:
        container["resources"] = inputs.spec.prefetcher_resources.to_manifest()
    return container


_CACHE_MOUNT: Manifest = {"name": CACHE_VOLUME, "mountPath": CACHE_ROOT}

_IDENTITY: list[Manifest] = [
    {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
    # Whose cache it is, in Glance's database: that of the node, whatever pod is on it. Nobody calls this address.
    {"name": "OS_DEFAULT__WORKER_SELF_REFERENCE_URL", "value": f"http://$(NODE_NAME):{API_PORT}"},
]

# ------------------------------------------------------------------------------------------------------------- volumes


def _volumes(inputs: CacheInputs, config: Manifest) -> list[Manifest]:
    files = {
        "secretName": config["metadata"]["name"],
        "defaultMode": SECRET_MODE,
        "items": config_items(config["data"]),
    }
    return [{"name": "config", "secret": files}, *working_volumes(inputs.site), _cache_volume(inputs)]


def _cache_volume(inputs: CacheInputs) -> Manifest:
    volume = inputs.spec.volume or CacheVolume(type="EmptyDir", empty_dir=CacheEmptyDir())
    return {"name": CACHE_VOLUME, **_SOURCES[volume.type](volume, size_in_bytes(inputs.spec.max_size))}


def _empty_dir(volume: CacheVolume, max_bytes: int) -> Manifest:
    if volume.empty_dir is not None and volume.empty_dir.medium == "Memory":
        return {"emptyDir": {"medium": "Memory", "sizeLimit": str(_with_headroom(max_bytes))}}
    return {"emptyDir": {"sizeLimit": str(EVICTED_AT * max_bytes)}}


def _host_path(volume: CacheVolume, _max_bytes: int) -> Manifest:
    if volume.host_path is None:
        raise ValueError("the volume is of type HostPath but has no such member")
    return {"hostPath": {"path": volume.host_path.path, "type": "DirectoryOrCreate"}}


def _ephemeral(volume: CacheVolume, max_bytes: int) -> Manifest:
    wanted = volume.ephemeral
    size = (wanted.size if wanted else None) or str(_with_headroom(max_bytes))
    claim: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if wanted and wanted.storage_class_name:
        claim["storageClassName"] = wanted.storage_class_name
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


_SOURCES = {"EmptyDir": _empty_dir, "HostPath": _host_path, "Ephemeral": _ephemeral}


def _with_headroom(size: int) -> int:
    numerator, denominator = HEADROOM
    return -(-size * numerator // denominator)
