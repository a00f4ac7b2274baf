"""Why pods do not get ready, in one sentence that stays the same as long as the cause does.

Sources: Kubernetes' container states ("Pod Lifecycle") and the kubelet's waiting reasons. Messages of the kubelet hold
back-off times, counts and pod names, which would change the status at every look; ours hold none of them.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from imageservice.manifest import Manifest
from imageservice.sensitive import Sensitive
from imageservice.status.masking import redact_all

PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
START_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
MAX_LINE_LENGTH = 300

# What changes from one crash to the next without meaning anything: time stamps, process ids, addresses.
_VOLATILE = (
    re.compile(r"^\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S*(?: [+-]\d{4})?\]?\s*"),
    re.compile(r"^\[?\d+\]?\s+(?=[A-Z\[])"),
)
# What gunicorn says after the error that matters, whatever it was.
_AFTERMATH = re.compile(
    r"Worker exiting|Worker \(pid:\S+ (exited|was sent)|Shutting down: Master|Worker failed to boot|Handling signal"
)
_ERROR = re.compile(r"^(\w+\.)*[A-Z]\w+: |\b(ERROR|CRITICAL|FATAL)\b")
_ADDRESS = re.compile(r"0x[0-9a-f]{4,}")


@dataclass(frozen=True)
class Problem:
    """Why a pod is not ready: a reason of `status.reasons` and a sentence."""

    reason: str
    message: str


def diagnose(pods: Iterable[Manifest], secrets: Sequence[Sensitive] = ()) -> Problem | None:
    """Return the most telling problem of `pods`, or None. The values of `secrets` are masked in the message."""
    found = [problem for pod in sorted(pods, key=_name) if (problem := _of_pod(pod, secrets))]
    order = list(_DIAGNOSES)
    return min(found, key=lambda problem: order.index(problem.reason), default=None)


def _of_pod(pod: Manifest, secrets: Sequence[Sensitive]) -> Problem | None:
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") == "Succeeded":
        return None
    told = redact_all(status, secrets)  # before anything is cut out of it: half of a value would not be found
    for reason, find in _DIAGNOSES.items():
        message = find(told)
        if message:
            return Problem(reason, message)
    return None


def _containers(status: Manifest) -> list[Manifest]:
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _waiting(status: Manifest, reasons: set[str]) -> tuple[Manifest, Manifest] | None:
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in reasons:
            return container, waiting
    return None


def _not_pulled(status: Manifest) -> str | None:
    found = _waiting(status, PULL_REASONS)
    if not found:
        return None
    return (
        f"The image `{found[0].get('image', '')}` cannot be pulled. Check its name, that the nodes reach its registry, "
        "and spec.imagePullSecrets; `kubectl describe pod` shows the registry's answer."
    )


def _terminated(container: Manifest) -> Manifest | None:
    """Return how the container ended, if it ended badly and is not running again for good."""
    if container.get("ready"):
        return None
    for state in ("state", "lastState"):
        ended = container.get(state, {}).get("terminated")
        if ended and ended.get("exitCode", 0) != 0:
            return dict(ended)
    return None


def _out_of_memory(status: Manifest) -> str | None:
    for container in _containers(status):
        ended = _terminated(container)
        if ended and ended.get("reason") == "OOMKilled":
            return f"The container `{container['name']}` ran out of memory. Raise spec.api.resources.limits.memory."
    return None


def _crashing(status: Manifest) -> str | None:
    for container in _containers(status):
        ended = _terminated(container)
        if ended:
            line = last_line(ended.get("message", ""))
            said = f" Its last words: {line}" if line else ""
            return f"The container `{container['name']}` exits with code {ended['exitCode']}.{said}"
    return None


def _not_started(status: Manifest) -> str | None:
    found = _waiting(status, START_REASONS)
    return f"The container `{found[0]['name']}` cannot be started: {found[1].get('message', '')}" if found else None


def _unscheduled(status: Manifest) -> str | None:
    """Return what the scheduler says of a pod that it has no node for."""
    conditions = status.get("conditions", [])
    told = (c for c in conditions if c.get("type") == "PodScheduled" and c.get("status") == "False")
    return next((str(condition.get("message", "")) for condition in told), None)


# Of n nodes, n have not the labels that are asked for.
_NO_NODE_MATCHES = re.compile(r"^0/(\d+) nodes are available: \1 node\(s\) didn't match Pod's node affinity/selector")


def _no_node_matches(status: Manifest) -> str | None:
    if not _NO_NODE_MATCHES.match(_unscheduled(status) or ""):
        return None
    return "No node has the labels that `nodeSelector` asks for: label the nodes of the site, or correct it."


def _not_scheduled(status: Manifest) -> str | None:
    message = _unscheduled(status)
    if message is None:
        return None
    return (
        f"No node takes the pod: {message} Check the node selector, tolerations and resources of the pods, and the "
        "volumes of the stores."
    )


_DIAGNOSES: dict[str, Callable[[Manifest], str | None]] = {
    "ImageNotPulled": _not_pulled,
    "PodOutOfMemory": _out_of_memory,
    "PodCrashing": _crashing,
    "PodNotStarted": _not_started,
    "NoNodeMatches": _no_node_matches,
    "PodNotScheduled": _not_scheduled,
}


def last_line(text: str) -> str:
    """Return the line of a log that tells the cause, without its time stamp, at most 300 characters long.

    That is the last one that looks like an error (the end of a traceback, or of that level), else the last of all.
    """
    said = [line for raw in text.splitlines() if (line := _plain(raw)) and not _AFTERMATH.search(line)]
    errors = [line for line in said if _ERROR.search(line)]
    return _ADDRESS.sub("0x...", (errors or said or [""])[-1])[:MAX_LINE_LENGTH]


def _plain(line: str) -> str:
    said = line.strip()
    for pattern in _VOLATILE:
        said = pattern.sub("", said)
    return said


def _name(pod: Manifest) -> str:
    return str(pod["metadata"]["name"])
