"""How far the roll-out of a Deployment is, read from its status (Kubernetes: "Deployment status")."""

from dataclasses import dataclass
from datetime import datetime

from imageservice.api.vocabulary import API_AVAILABLE
from imageservice.manifest import Manifest
from imageservice.status.conditions import Condition, false, true
from imageservice.status.pods import Problem

SETTLING_SECONDS = 60.0
"""How long pods may take to get ready, after a scaling for example, before their absence is called a fault."""


@dataclass(frozen=True)
class Rollout:
    """The counts of one Deployment. A ready pod counts at once; `minReadySeconds` is for the pace of a roll-out.

    `observed` is False while its controller has not seen the newest spec. `unavailable_since` is set where the newest
    revision was once rolled out and too few of its pods are available now. `progressed_at` is when the roll-out moved
    last.
    """

    desired: int
    replicas: int
    updated: int
    ready: int
    observed: bool
    deadline_exceeded: bool
    paused: bool = False
    replicas_refused: str = ""
    unavailable_since: datetime | None = None
    progressed_at: datetime | None = None

    def lasts(self, seconds: float, now: datetime, before: Manifest) -> bool:
        """Tell whether the newest spec is known to the controller, and nothing has moved for so long.

        `before` is the condition ApiAvailable as it was written last: a replica more or less shows only there.
        """
        if not self.observed or before.get("reason") == "Available":
            return False
        moved = [self.progressed_at] if self.progressed_at else []
        if before.get("status") == "False":
            moved.append(datetime.fromisoformat(before["lastTransitionTime"]))
        return all((now - moment).total_seconds() >= seconds for moment in moved)

    @property
    def complete(self) -> bool:
        """Every replica runs the newest revision and is ready, and no pod of an older one is left."""
        return self.observed and self.updated == self.replicas == self.ready == self.desired

    @property
    def newest_everywhere(self) -> bool:
        """No pod of an older revision is left, whether or not all of the newest one are ready."""
        return self.observed and self.updated == self.replicas >= self.desired


def read(deployment: Manifest) -> Rollout:
    """Read the counts of `deployment`; a field that is missing counts as zero."""
    status = deployment.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    refused, available = conditions.get("ReplicaFailure", {}), conditions.get("Available", {})
    progress = conditions.get("Progressing", {})
    progressing, moved = progress.get("reason"), progress.get("lastUpdateTime")
    lost = progressing == "NewReplicaSetAvailable" and available.get("status") == "False"
    return Rollout(
        desired=deployment["spec"].get("replicas", 1),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        observed=status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0),
        deadline_exceeded=progressing == "ProgressDeadlineExceeded",
        paused=deployment["spec"].get("paused", False),
        replicas_refused=refused.get("message", "") if refused.get("status") == "True" else "",
        progressed_at=datetime.fromisoformat(moved) if moved else None,
        unavailable_since=datetime.fromisoformat(available["lastTransitionTime"]) if lost else None,
    )


def api_available(deployment: Manifest | None, problem: Problem | None, now: datetime) -> Condition:
    """Return the condition ApiAvailable. `problem` is what keeps a pod from getting ready, if anything does."""
    if deployment is None:
        return false(API_AVAILABLE, "NotDeployed", "There is no Deployment of the API yet.")
    rollout = read(deployment)
    if rollout.desired == 0:
        return false(API_AVAILABLE, "ScaledToZero", "No replica runs: `replicas` is 0.")
    counts = f"{rollout.ready} of {rollout.desired} replicas are ready"
    if rollout.complete:
        return true(API_AVAILABLE, "Available", f"{counts}.")
    if rollout.replicas_refused:
        return false(API_AVAILABLE, "PodsRefused", f"{counts}; pods are refused: {rollout.replicas_refused}")
    if rollout.deadline_exceeded:
        why = problem.message if problem else "`kubectl describe pod` may tell why."
        return false(API_AVAILABLE, "ProgressDeadlineExceeded", f"{counts}, and the roll-out is stuck. {why}")
    if rollout.paused:
        cure = "`kubectl rollout resume` lets it go on."
        return false(
            API_AVAILABLE, "DeploymentPaused", f"{counts}, and the roll-out of the Deployment is paused. {cure}"
        )
    if problem:
        return false(API_AVAILABLE, problem.reason, f"{counts}. {problem.message}")
    if rollout.unavailable_since and (now - rollout.unavailable_since).total_seconds() > SETTLING_SECONDS:
        return false(API_AVAILABLE, "ReplicasUnavailable", f"{counts}. The nodes may tell why.")
    return _without_problem(rollout, counts)


def _without_problem(rollout: Rollout, counts: str) -> Condition:
    updated = f"{rollout.updated} of {rollout.desired} run the newest revision"
    if not rollout.newest_everywhere and rollout.ready >= rollout.desired:
        return true(API_AVAILABLE, "RollingOut", f"{counts}; {updated}.")
    return false(API_AVAILABLE, "RollingOut", f"{counts}; {updated}.")
