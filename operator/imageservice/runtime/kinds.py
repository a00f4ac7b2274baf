"""The kinds of objects that the operator reads or writes, and where the API server serves them."""

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from imageservice.manifest import Manifest

_UNESCAPED = ":"
"""Characters legal in a path segment that names of objects may hold (RBAC objects do)."""


@dataclass(frozen=True)
class Kind:
    """A kind of object. `group` is empty for the core group; `plural` is the word in the URL.

    Objects of a kind that is not `namespaced` are those of the whole cluster.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of an object of this kind."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of a collection (no name), an object, or a subresource of it, beginning with a slash."""
        segments = ["apis", self.group] if self.group else ["api"]
        segments.append(self.version)
        if namespace is not None:
            segments += ["namespaces", namespace]
        segments.append(self.plural)
        segments += [part for part in (name, subresource) if part is not None]
        return "/" + "/".join(quote(segment, safe=_UNESCAPED) for segment in segments)

    def complete(self, item: Manifest) -> Manifest:
        """Add `apiVersion` and `kind`, which the API server leaves out of the items of a list; return the object."""
        item.setdefault("apiVersion", self.api_version)
        item.setdefault("kind", self.kind)
        return item


IMAGE_SERVICE = Kind("imageservice.dev", "v1alpha1", "ImageService", "imageservices")
IMAGE_STORE = Kind("imageservice.dev", "v1alpha1", "ImageStore", "imagestores")
CACHE_POLICY = Kind("imageservice.dev", "v1alpha1", "CachePolicy", "cachepolicies")
IMAGE_PRECACHE = Kind("imageservice.dev", "v1alpha1", "ImagePrecache", "imageprecaches")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
DAEMON_SET = Kind("apps", "v1", "DaemonSet", "daemonsets")
JOB = Kind("batch", "v1", "Job", "jobs")
SERVICE = Kind("", "v1", "Service", "services")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
SECRET = Kind("", "v1", "Secret", "secrets")
POD_DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
POD = Kind("", "v1", "Pod", "pods")
NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
PERSISTENT_VOLUME_CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
EVENT = Kind("", "v1", "Event", "events")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")


class Key(NamedTuple):
    """Names one object: what the queue holds and a reconcile is about."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.namespace}/{self.name}"
