"""ApiAvailable from a Deployment as its controller leaves it."""

from datetime import UTC, datetime

import pytest

from imageservice.status.pods import Problem
from imageservice.status.rollout import api_available, read

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def deployment(*, updated=2, replicas=2, available=2, observed=3, desired=2, conditions=()):
    counts = {
        "updatedReplicas": updated,
        "replicas": replicas,
        "availableReplicas": available,
        "readyReplicas": available,
    }
    status = {**counts, "observedGeneration": observed, "conditions": list(conditions)}
    return {"metadata": {"generation": 3}, "spec": {"replicas": desired}, "status": status}


def condition(type_, status, reason="", since="11:00:00", message=""):
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "lastTransitionTime": f"2026-01-01T{since}Z",
        "message": message,
    }


ROLLED_OUT = condition("Progressing", "True", "NewReplicaSetAvailable")
CRASH = Problem("PodCrashing", "exits with code 1.")


@pytest.mark.parametrize(
    ("found", "problem", "status", "reason"),
    [
        (None, None, "False", "NotDeployed"),
        (deployment(), None, "True", "Available"),
        (deployment(observed=2), None, "True", "RollingOut"),
        (deployment(updated=1, replicas=3), None, "True", "RollingOut"),
        (deployment(available=0), None, "False", "RollingOut"),
        (deployment(available=0), CRASH, "False", "PodCrashing"),
        (deployment(updated=1, replicas=3), CRASH, "False", "PodCrashing"),
        (deployment(desired=0, updated=0, replicas=0, available=0), None, "False", "ScaledToZero"),
        (
            deployment(available=0, conditions=[condition("Progressing", "False", "ProgressDeadlineExceeded")]),
            CRASH,
            "False",
            "ProgressDeadlineExceeded",
        ),
        (
            deployment(available=0, conditions=[condition("ReplicaFailure", "True", message="quota")]),
            None,
            "False",
            "PodsRefused",
        ),
        (
            deployment(available=1, conditions=[ROLLED_OUT, condition("Available", "False")]),
            None,
            "False",
            "ReplicasUnavailable",
        ),
        (
            deployment(available=1, conditions=[ROLLED_OUT, condition("Available", "False", since="11:59:30")]),
            None,
            "False",
            "RollingOut",
        ),
    ],
)
def test_each_state_of_a_roll_out_has_its_reason(found, problem, status, reason):
    verdict = api_available(found, problem, NOW)
    assert (verdict.status, verdict.reason) == (status, reason)


def test_a_pod_of_an_older_revision_is_seen_even_when_all_are_available():
    assert read(deployment()).newest_everywhere
    assert not read(deployment(updated=2, replicas=3, available=3)).newest_everywhere
