"""How a database Job stands, from the Job and its pods (Kubernetes: "Job status"; the script's termination message)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from imageservice.manifest import Manifest
from imageservice.sensitive import Sensitive
from imageservice.status.masking import redact
from imageservice.status.pods import Problem, diagnose
from imageservice.status.reasons import REASONS

FALLBACK_REASON = "MigrationFailed"


class JobState(Enum):
    """Where a Job stands."""

    ACTIVE = "active"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class JobProgress:
    """The state of a Job, why it does not go on, and when it failed (None unless it did)."""

    state: JobState
    problem: Problem | None = None
    failed_at: datetime | None = None


def read(job: Manifest, pods: Sequence[Manifest], secrets: Sequence[Sensitive]) -> JobProgress:
    """Read the progress of `job`; `pods` are its pods, the values of `secrets` are masked in what they say."""
    conditions = {c["type"]: c for c in job.get("status", {}).get("conditions", []) if c.get("status") == "True"}
    if "Complete" in conditions:
        return JobProgress(JobState.COMPLETE)
    if "Failed" in conditions:
        failed = conditions["Failed"]
        at = datetime.fromisoformat(failed["lastTransitionTime"])
        return JobProgress(JobState.FAILED, _reported(pods, secrets) or _unreported(failed), at)
    return JobProgress(JobState.ACTIVE, diagnose(pods, secrets))


def is_running(pods: Sequence[Manifest]) -> bool:
    """Tell whether a pod of the Job may be at work: it must not be taken away in the middle of a migration."""
    return any(pod.get("status", {}).get("phase") == "Running" for pod in pods)


def _reported(pods: Sequence[Manifest], secrets: Sequence[Sensitive]) -> Problem | None:
    """Return what the script said in its termination message: one JSON object with a reason and a message."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True):
        for container in pod.get("status", {}).get("containerStatuses", []):
            text = container.get("state", {}).get("terminated", {}).get("message", "")
            try:
                said = json.loads(text)
                reason, message = said["reason"], said["message"]
            except (ValueError, TypeError, KeyError):
                continue
            return Problem(reason if reason in REASONS else FALLBACK_REASON, redact(str(message), secrets))
    return diagnose(pods, secrets)


def _unreported(failed: Manifest) -> Problem:
    return Problem(FALLBACK_REASON, f"The Job ended without a word: {failed.get('reason', '')}.")
