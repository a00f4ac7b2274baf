"""Prometheus metrics: controller-runtime's names, prefix `image_service_operator_`, in a registry of their own."""

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

PREFIX = "image_service_operator"

_LATENCIES = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds: from one read over loopback to the deadline of a reconcile."""


class Metrics:
    """All metrics of one process. Labels have few values, never names of objects."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reconciles()
        self._workqueue()
        self._api()
        self._info()

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", meaning, labels, registry=self.registry, buckets=_LATENCIES)

    def _reconciles(self) -> None:
        self.reconciles = self._counter(
            "reconcile_total",
            "Reconciles by kind and how they ended: success, requeue_after, blocked, throttled, conflict or error.",
            "controller",
            "result",
        )
        self.reconcile_errors = self._counter(
            "reconcile_errors_total", "Reconciles that ended in an error and were backed off.", "controller"
        )
        self.reconcile_time = self._histogram(
            "reconcile_time_seconds", "How long one reconcile took, in seconds.", "controller"
        )
        self.max_concurrent = self._gauge(
            "max_concurrent_reconciles", "How many objects are reconciled at once at most."
        )
        self.active_workers = self._gauge("active_workers", "Reconciles that run now.", "controller")

    def _workqueue(self) -> None:
        self.queue_depth = self._gauge("workqueue_depth", "Objects that wait for a worker.", "controller")
        self.queue_adds = self._counter("workqueue_adds_total", "Times an object was put in the queue.", "controller")
        self.queue_retries = self._counter(
            "workqueue_retries_total", "Times an object was put in the queue again after an error.", "controller"
        )
        self.queue_duration = self._histogram(
            "workqueue_queue_duration_seconds", "How long an object waited for a worker, in seconds.", "controller"
        )
        self.unfinished_work = self._gauge(
            "workqueue_unfinished_work_seconds", "Sum of the ages of the reconciles that run now, in seconds."
        )
        self.longest_running = self._gauge(
            "workqueue_longest_running_processor_seconds", "Age of the oldest reconcile that runs now, in seconds."
        )

    def _api(self) -> None:
        self.requests = self._counter(
            "rest_client_requests_total",
            "Requests to the API server by status code (or <error>), HTTP method, verb of the Kubernetes API and kind.",
            "code",
            "method",
            "verb",
            "kind",
        )
        self.apply_cache_hits = self._counter(
            "apply_cache_hits_total", "Applies that were left out because they are known to change nothing.", "kind"
        )
        self.apply_cache_misses = self._counter(
            "apply_cache_misses_total", "Applies of an existing object that were sent.", "kind"
        )
        self.watch_restarts = self._counter(
            "watch_restarts_total", "Times all watches were started anew after a failure of the event engine."
        )
        self.leader = self._gauge(
            "leader_election_master_status", "1 while this process is the leader, else 0.", "name"
        )

    def _info(self) -> None:
        info = self._gauge("build_info", "Always 1; the version is in the label.", "version")
        info.labels(version=package_version()).set(1)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


def package_version() -> str:
    """Return the version of the installed package, `unknown` where it runs from a source tree."""
    try:
        return version("image-service-operator")
    except PackageNotFoundError:
        return "unknown"
