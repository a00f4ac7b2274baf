"""The schema of an ImageService: usable before pods of the release start, contracted after the last older one is gone.

Where no older pod may be left, as in a new ImageService, one Job does both (`sync`). Else `prepare` comes before the
roll-out and `sync` after it, so that in the end there is the same one Job, whatever the way.

Each step is a Job whose name holds a hash of all that it does: the Job that is there, and how it ended, is the only
memory. The script in it asks `glance-manage db check` what is left to do, so running it again does nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from imageservice.manifest import Manifest
from imageservice.reconcile.children import ensure, is_controlled_by, prune, read_own, write
from imageservice.reconcile.together import together
from imageservice.render.database_job import Step, database_job, database_secret
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import COMPONENT_DATABASE, service_labels
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.kinds import JOB, POD, SECRET
from imageservice.sensitive import Sensitive
from imageservice.status import jobs
from imageservice.status.conditions import Condition, false
from imageservice.status.imageservice import DATABASE_READY
from imageservice.status.jobs import JobState

RETRY_SECONDS = 20.0
PATIENCE_SECONDS = 4.0
"""How long a Job may take before its pods are asked why."""
STEP_MESSAGES: dict[Step, str] = {
    "sync": "The database schema is being brought to that of the release.",
    "prepare": "The database schema is being expanded and migrated.",
}


@dataclass(frozen=True)
class StepResult:
    """Whether a step is done and, while it is not, the condition that says why. `job` and `secret` are to be kept."""

    step: Step
    done: bool
    condition: Condition | None
    job: str
    secret: str
    requeue_after: float | None = None


class DatabaseSteps:
    """Runs the Jobs of one ImageService."""

    def __init__(self, kube: CachedKube, owner: Manifest, inputs: ImageServiceInputs, secrets: list[Sensitive]) -> None:
        self._kube = kube
        self._owner = owner
        self._inputs = inputs
        self._secrets = secrets

    async def make_usable(self, now: datetime, *, is_alone: bool) -> StepResult:
        """Bring the schema to where pods of the release can work. `is_alone`: no older pod may be left."""
        done = next((step for step in STEP_MESSAGES if self._is_complete(step)), None)
        return await self.run(done or ("sync" if is_alone else "prepare"), now)

    async def run(self, step: Step, now: datetime) -> StepResult:
        """Bring `step` forward by one: start its Job, watch it, or throw a failed one away after a pause."""
        secret = database_secret(self._inputs)
        secret_name = secret["metadata"]["name"]
        wanted = self._job(step)
        name = wanted["metadata"]["name"]
        job = await read_own(self._kube, JOB, self._owner, name)
        await ensure(self._kube, SECRET, self._owner, secret, unique=True)
        busy = await self._clear_others(name) if job is None else None
        if busy:
            return StepResult(step, False, busy, name, secret_name, requeue_after=RETRY_SECONDS)
        job = await write(self._kube, JOB, wanted, job)
        pods = await self._pods(job) if _wants_explaining(job, now) else []
        progress = jobs.read(job, pods, self._secrets)
        if progress.state is JobState.COMPLETE:
            return StepResult(step, True, None, name, secret_name)
        if progress.state is JobState.FAILED:
            await self._try_again(job, progress, now)
        condition = _condition(step, progress)
        return StepResult(step, False, condition, name, secret_name, requeue_after=_look_again(progress))

    async def clear(self, secrets: set[str], jobs: set[str]) -> None:
        """Delete the Secrets and Jobs of earlier schemas, but those of these names."""
        labels = service_labels(self._inputs.name, COMPONENT_DATABASE)

        def is_kept(child: Manifest) -> bool:
            return child["metadata"]["name"] in secrets | jobs

        await together(
            prune(self._kube, SECRET, self._owner, labels, is_kept),
            prune(self._kube, JOB, self._owner, labels, is_kept),
        )

    def _job(self, step: Step) -> Manifest:
        return database_job(self._inputs, step, database_secret(self._inputs)["metadata"]["name"])

    def _is_complete(self, step: Step) -> bool:
        """Tell whether the Job of a step is known to have done its work; where none is known, it is run (again)."""
        job = self._kube.known(JOB, self._inputs.namespace, self._job(step)["metadata"]["name"])
        return job is not None and is_controlled_by(job, self._owner) and _is_over(job) == "Complete"

    async def _try_again(self, job: Manifest, progress: jobs.JobProgress, now: datetime) -> None:
        """Delete a failed Job once it has stood for a while, so that the next look starts it anew."""
        if progress.failed_at and (now - progress.failed_at).total_seconds() >= RETRY_SECONDS:
            await self._kube.delete(JOB, job)

    async def _clear_others(self, name: str) -> Condition | None:
        """Delete the Jobs of older specs, but wait for one that is at work: two migrations at once break a schema."""
        labels = service_labels(self._inputs.name, COMPONENT_DATABASE)
        for job in await self._kube.list(JOB, self._inputs.namespace, labels=labels):
            if job["metadata"]["name"] == name or not is_controlled_by(job, self._owner) or _is_over(job):
                continue
            if jobs.is_running(await self._pods(job)):
                message = f"The Job `{job['metadata']['name']}` of an earlier spec is still at work."
                return false(DATABASE_READY, "WaitingForOtherMigration", message)
            await self._kube.delete(JOB, job)
        return None

    async def _pods(self, job: Manifest) -> list[Manifest]:
        """Read the pods of this very Job: those of an earlier one of its name may not be gone yet."""
        label = f"batch.kubernetes.io/controller-uid={job['metadata']['uid']}"
        return await self._kube.list(POD, self._inputs.namespace, labels=label)


def _wants_explaining(job: Manifest, now: datetime) -> bool:
    """Tell whether to look at the pods of a Job: it failed, or takes longer than one that nothing is wrong with."""
    if over := _is_over(job):
        return over == "Failed"
    return (now - datetime.fromisoformat(job["metadata"]["creationTimestamp"])).total_seconds() >= PATIENCE_SECONDS


def _is_over(job: Manifest) -> str | None:
    conditions = job.get("status", {}).get("conditions", [])
    ended = (c["type"] for c in conditions if c.get("type") in {"Complete", "Failed"} and c.get("status") == "True")
    return next(ended, None)


def _condition(step: Step, progress: jobs.JobProgress) -> Condition:
    if progress.problem:
        return false(DATABASE_READY, progress.problem.reason, progress.problem.message)
    return false(DATABASE_READY, "Preparing", STEP_MESSAGES[step])


def _look_again(progress: jobs.JobProgress) -> float:
    """Seconds until the next look. The end of a Job wakes us by itself; what keeps its pod waiting does not."""
    return RETRY_SECONDS + 1.0 if progress.state is JobState.FAILED else 5.0
