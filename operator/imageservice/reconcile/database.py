"""The schema of an ImageService: usable before pods of the release start, contracted after the last older one is gone.

Where no older pod may be left, as in a new ImageService, one Job does both (`sync`). Else `prepare` comes before the
roll-out and `sync` after it, so that in the end there is the same one Job, whatever the way.

Each step is a Job whose name holds a hash of all that it does: the Job that is there, and how it ended, is the only
memory. The script in it asks `glance-manage db check` what is left to do, so running it again does nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from imageservice.api.vocabulary import DATABASE_READY
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
    """Whether a step is done and, while it is not, the condition that says why."""

    step: Step
    done: bool
    condition: Condition | None = None
    requeue_after: float | None = None


class DatabaseSteps:
    """Runs the Jobs of one ImageService."""

    def __init__(self, kube: CachedKube, owner: Manifest, inputs: ImageServiceInputs, secrets: list[Sensitive]) -> None:
        self._kube = kube
        self._owner = owner
        self._inputs = inputs
        self._secrets = secrets
        self._secret = database_secret(inputs)
        self._wanted = {step: database_job(inputs, step, _name(self._secret)) for step in STEP_MESSAGES}

    async def make_usable(self, now: datetime, *, is_alone: bool) -> StepResult:
        """Bring the schema to where pods of the release can work. `is_alone`: no older pod may be left."""
        done = next((step for step in STEP_MESSAGES if self._is_complete(step)), None)
        return await self.run(done or ("sync" if is_alone else "prepare"), now)

    async def run(self, step: Step, now: datetime) -> StepResult:
        """Bring `step` forward by one: start its Job, watch it, or throw a failed one away after a pause."""
        wanted = self._wanted[step]
        name = _name(wanted)
        job = await read_own(self._kube, JOB, self._owner, name)
        await ensure(self._kube, SECRET, self._owner, self._secret, unique=True)
        busy = await self._clear_others(name) if job is None else None
        if busy:
            return StepResult(step, False, busy, requeue_after=RETRY_SECONDS)
        job = await write(self._kube, JOB, wanted, job)
        pods = await self._pods(job) if _wants_explaining(job, now) else []
        progress = jobs.read(job, pods, self._secrets)
        if progress.state is JobState.COMPLETE:
            return StepResult(step, True)
        if progress.state is JobState.FAILED:
            await self._try_again(job, progress, now)
        return StepResult(step, False, _condition(step, progress), requeue_after=_look_again(progress))

    async def clear(self) -> None:
        """Delete all Secrets and Jobs of the database but those of `sync`, which is done."""
        labels = service_labels(self._inputs.name, COMPONENT_DATABASE)
        kept = {_name(self._secret), _name(self._wanted["sync"])}

        def is_kept(child: Manifest) -> bool:
            return _name(child) in kept

        await together(
            prune(self._kube, SECRET, self._owner, labels, is_kept),
            prune(self._kube, JOB, self._owner, labels, is_kept),
        )

    def _is_complete(self, step: Step) -> bool:
        """Tell whether the Job of a step is known to have done its work; where none is known, it is run (again)."""
        job = self._kube.known(JOB, self._inputs.namespace, _name(self._wanted[step]))
        return job is not None and is_controlled_by(job, self._owner) and _is_over(job) == "Complete"

    async def _try_again(self, job: Manifest, progress: jobs.JobProgress, now: datetime) -> None:
        """Delete a failed Job once it has stood for a while, so that the next look starts it anew."""
        if progress.failed_at and (now - progress.failed_at).total_seconds() >= RETRY_SECONDS:
            await self._kube.delete(JOB, job)

    async def _clear_others(self, name: str) -> Condition | None:
        """Delete the Jobs of older specs, but wait for one that is at work: two migrations at once break a schema."""
        labels = service_labels(self._inputs.name, COMPONENT_DATABASE)
        for job in await self._kube.list(JOB, self._inputs.namespace, labels=labels):
            if _name(job) == name or not is_controlled_by(job, self._owner) or _is_over(job):
                continue
            if jobs.is_running(await self._pods(job)):
                message = f"The Job `{_name(job)}` of an earlier spec is still at work."
                return false(DATABASE_READY, "WaitingForOtherMigration", message)
            await self._kube.delete(JOB, job)
        return None

    async def _pods(self, job: Manifest) -> list[Manifest]:
        """Read the pods of this very Job: those of an earlier one of its name may not be gone yet."""
        label = f"batch.kubernetes.io/controller-uid={job['metadata']['uid']}"
        return await self._kube.list(POD, self._inputs.namespace, labels=label)


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


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
