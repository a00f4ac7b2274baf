"""CachePolicies and ImagePrecaches that the API takes, and changes that make them bad: for `test_api_samples.py`."""

from typing import Any

from tests.unit.api_stores import NAME, ONE_LINE, REMOVE, BadCase

from imageservice.api.v1alpha1 import API_VERSION
from imageservice.manifest import Manifest

IMAGE = "3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54"
NIGHTS = {"schedule": "0 22 * * MON-FRI", "durationSeconds": 28800, "timeZone": "Europe/Berlin"}


def cache_policy(name: str = "computes", **spec: Any) -> Manifest:
    """Return the smallest CachePolicy, with more spec as given."""
    return {
        "apiVersion": API_VERSION,
        "kind": "CachePolicy",
        "metadata": {"name": name},
        "spec": {"targetRef": {"kind": "ImageService", "name": "glance"}, "maxSize": "200Gi", **spec},
    }


def image_precache(name: str = "golden", **spec: Any) -> Manifest:
    """Return an ImagePrecache of one image, with other spec as given."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ImagePrecache",
        "metadata": {"name": name},
        "spec": {"imageServiceRef": {"name": "glance"}, "images": [{"name": "ubuntu-26.04"}], **spec},
    }


FULL_POLICY = cache_policy(
    "full",
    targetRef={"kind": "ImageStore", "name": "dcn0"},
    nodeSelector={"openstack.org/compute": "true", "zone": ""},
    tolerations=[{"key": "openstack.org/compute", "operator": "Exists", "effect": "NoSchedule"}],
    maxSize="1.5Ti",
    highWatermarkPercent=100,
    lowWatermarkPercent=99,
    volume={"type": "Ephemeral", "ephemeral": {"storageClassName": "local.nvme", "size": "1536Gi"}},
    pruneIntervalSeconds=10,
    prefetchIntervalSeconds=86400,
    stallTimeSeconds=10,
    bandwidthLimit="64Ki",
    resources={"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
    prefetcherResources={"limits": {"cpu": 1, "memory": "320Mi"}},
    processes=64,
    exposure={"hostPort": 65535, "joinSiteService": True},
    updateStrategy={"maxUnavailable": "100%"},
    terminationGracePeriodSeconds=30,
)
IN_MEMORY = cache_policy("memory", maxSize="1Mi", volume={"type": "EmptyDir", "emptyDir": {"medium": "Memory"}})
ON_THE_HOST = cache_policy(
    "host",
    maxSize=1048576,
    volume={"type": "HostPath", "hostPath": {"path": "/var/lib/our cache..1"}},
    updateStrategy={"maxUnavailable": 3},
)
FULL_PRECACHE = image_precache(
    "full",
    images=[{"id": IMAGE}, {"name": "Ubuntu 26.04 LTS (東京) $HOME %(x)s"}, {"name": "a", "owner": "5f1c3d6e"}],
    imageSelector={
        "tags": ["golden", "two words"],
        "properties": {"os_distro": "ubuntu", "trait:HW_CPU": "", "名前": "b"},
        "owner": "5f1c3d6e8a9b4c2d9e0f1a2b3c4d5e6f",
    },
    cachePolicySelector={
        "matchLabels": {"imageservice.dev/tier": "gold"},
        "matchExpressions": [
            {"key": "site", "operator": "In", "values": ["a", "b"]},
            {"key": "site", "operator": "NotIn", "values": ["c"]},
            {"key": "tier", "operator": "Exists"},
            {"key": "trial", "operator": "DoesNotExist", "values": []},
        ],
    },
    nodeSelector={"topology.kubernetes.io/zone": "dcn0"},
    parallelism="100%",
    timeoutSeconds=604800,
    backoff={"initialSeconds": 60, "maxSeconds": 60},
    windows=[
        NIGHTS,
        {"schedule": "*/5 0-23/2 1,15,L JAN-MAR,12 mon#1", "durationSeconds": 60},
        {"schedule": "0 0 29 2 *", "durationSeconds": 604800, "timeZone": "America/Argentina/Buenos_Aires"},
    ],
    suspend=True,
)
SELECTED = image_precache("selected", images=[], imageSelector={"tags": ["golden"]}, parallelism=0)

GOOD_CACHES: dict[str, Manifest] = {
    "smallest policy": cache_policy(),
    "full policy": FULL_POLICY,
    "policy in memory": IN_MEMORY,
    "policy on the host": ON_THE_HOST,
    "smallest precache": image_precache(),
    "full precache": FULL_PRECACHE,
    "precache by tags": SELECTED,
    "precache of no selector": image_precache("wide", cachePolicySelector={}, parallelism="0%"),
}


def _policy(path: str, value: Any, sentence: str, reading: str | None = "", base: Manifest = FULL_POLICY) -> BadCase:
    steps = (int(step) if step.isdigit() else step for step in path.split("."))
    return base, ("spec", *steps), value, sentence, reading


def _precache(path: str, value: Any, sentence: str, reading: str | None = "") -> BadCase:
    return _policy(path, value, sentence, reading, FULL_PRECACHE)


SIZE = "must be one byte or more, with or without a suffix"
SHARE = "must be a number of nodes up to 99999, or a share of them from 0% to 100%"
SOME_SHARE = "must be a number of nodes from 1 to 99999, or a share of them from 1% to 100%"
MEMBER = "must be set where `type` is"
SCHEDULE = "must be a cron schedule of five fields with single blanks between them"
UUID = "must be the id of an image: a UUID in lower case"
ROUND = "must be a cron schedule that comes round"
VALUES = "`values` must be set where `operator` is In or NotIn, and only there"
LABEL = "each key must be the key of a label, like topology.kubernetes.io/zone"

BAD_CACHES: dict[str, BadCase] = {
    "policy of nothing": _policy("targetRef", REMOVE, "targetRef: Required value", "`spec.targetRef` must be set"),
    "policy of another kind": _policy(
        "targetRef.kind", "CachePolicy", 'supported values: "ImageService", "ImageStore"', "must be 'ImageService' or"
    ),
    "policy of a path": _policy("targetRef.name", "../glance", NAME),
    "policy for a label with a space": _policy("nodeSelector", {"a b": "c"}, LABEL),
    "policy without a size": _policy("maxSize", REMOVE, "maxSize: Required value", "`spec.maxSize` must be set"),
    "cache smaller than any image": _policy("maxSize", "1023Ki", "must be 1Mi or more and 1Pi or less"),
    "cache larger than any disk": _policy("maxSize", "1025Ti", "must be 1Mi or more and 1Pi or less", base=IN_MEMORY),
    "cache of no size": _policy("maxSize", 0, SIZE, base=IN_MEMORY),
    "size of a cache in GB": _policy("maxSize", "200GB", SIZE, base=IN_MEMORY),
    "watermarks the wrong way round": _policy(
        "lowWatermarkPercent", 100, "`lowWatermarkPercent` must be less than `highWatermarkPercent`"
    ),
    "watermark above the brim": _policy(
        "highWatermarkPercent", 101, "should be less than or equal to 100", "must be 100 or less"
    ),
    "watermark as a text": _policy("lowWatermarkPercent", "80%", "must be of type integer", "must be a whole number"),
    "volume smaller than the cache": _policy(
        "volume.ephemeral.size", "1535Gi", "`volume.ephemeral.size` must be `maxSize` or more"
    ),
    "cache volume without its member": _policy("volume.ephemeral", REMOVE, f"`ephemeral` {MEMBER} Ephemeral"),
    "cache volume with two members": _policy("volume.emptyDir", {}, f"`emptyDir` {MEMBER} EmptyDir, and only there"),
    "cache volume of an unknown type": _policy(
        "volume.type", "NFS", 'supported values: "EmptyDir", "HostPath", "Ephemeral"', "must be 'EmptyDir', 'HostPath'"
    ),
    "medium that is none": _policy(
        "volume.emptyDir.medium", "Disk", 'supported values: "Memory"', "must be 'Memory'", base=IN_MEMORY
    ),
    "relative path of a cache": _policy(
        "volume.hostPath.path", "cache", "must be an absolute path on one line", base=ON_THE_HOST
    ),
    "path of a cache that climbs": _policy(
        "volume.hostPath.path", "/var/../etc", "must lead to a directory below / and", base=ON_THE_HOST
    ),
    "cache on the root of the node": _policy(
        "volume.hostPath.path", "/./", "must lead to a directory below / and", base=ON_THE_HOST
    ),
    "line smuggled into the path of a cache": _policy(
        "volume.hostPath.path", "/a\nb", "must be an absolute path on one line", base=ON_THE_HOST
    ),
    "interval too short": _policy(
        "pruneIntervalSeconds", 9, "should be greater than or equal to 10", "must be 10 or more"
    ),
    "bandwidth of a few bytes": _policy("bandwidthLimit", "1k", "must be 64Ki or more and 1Ti or less"),
    "bandwidth per second": _policy("bandwidthLimit", "50Mi/s", SIZE),
    "memory of the prefetcher over its limit": _policy(
        "prefetcherResources.requests",
        {"memory": "1Gi"},
        "`requests.memory` must not be more than `limits.memory`",
    ),
    "port that is none": _policy("exposure.hostPort", 0, "greater than or equal to 1", "must be 1 or more"),
    "no pod may be away": _policy("updateStrategy.maxUnavailable", 0, SOME_SHARE),
    "none of the pods may be away": _policy("updateStrategy.maxUnavailable", "0%", SOME_SHARE),
    "precache of no service": _precache(
        "imageServiceRef", REMOVE, "imageServiceRef: Required value", "`spec.imageServiceRef` must be set"
    ),
    "precache of no image": _policy(
        "images", [], "`images` or `imageSelector` must be set, or both", base=image_precache()
    ),
    "precache without images": _policy(
        "images", REMOVE, "`images` or `imageSelector` must be set, or both", base=image_precache()
    ),
    "too many images": _precache(
        "images", [{"name": "a"}] * 101, "must have at most 100 items", "must have at most 100 items"
    ),
    "image that is nothing": _precache("images.0", {}, "either `id` or `name` must be set, and not both"),
    "image by id and by name": _precache("images.0.name", "a", "either `id` or `name` must be set, and not both"),
    "image by id and by owner": _precache("images.0.owner", "a", "`owner` must be set only beside `name`"),
    "image id that is no UUID": _precache("images.0.id", "x" * 36, UUID),
    "image id in capitals": _precache("images.0.id", IMAGE.upper(), UUID),
    "image id without hyphens": _precache("images.0.id", IMAGE.replace("-", ""), UUID, "must have at least 36 char"),
    "path for an image id": _precache("images.0.id", "../../../../../../../../etc/passwd.x", UUID),
    "image name of two lines": _precache("images.1.name", "a\nb", ONE_LINE),
    "empty image name": _precache("images.1.name", "", "should be at least 1 chars long", "at least 1 char"),
    "selector of every image": _precache("imageSelector", {}, "`tags` or `properties` must be set"),
    "selector with an owner alone": _precache("imageSelector", {"owner": "a"}, "`tags` or `properties` must be set"),
    "tag twice": _precache("imageSelector.tags", ["a", "a"], "tags[1]: Duplicate value", None),
    "tag of two lines": _precache("imageSelector.tags", ["a\rb"], ONE_LINE),
    "property of two lines to select by": _precache("imageSelector.properties", {"a": "b\n"}, ONE_LINE),
    "property name of two lines": _precache(
        "imageSelector.properties", {"a\n": "b"}, "each key must be the name of a property on one line"
    ),
    "property without a name to select by": _precache(
        "imageSelector.properties", {"": "b"}, "each key must have from 1 to 255 characters"
    ),
    "policies by a label with a space": _precache("cachePolicySelector.matchLabels", {"a b": "c"}, LABEL),
    "policies by no value": _precache("cachePolicySelector.matchExpressions.0.values", REMOVE, VALUES),
    "policies by a value too many": _precache("cachePolicySelector.matchExpressions.2.values", ["a"], VALUES),
    "policies by an unknown operator": _precache(
        "cachePolicySelector.matchExpressions.0.operator", "Equals", 'supported values: "In", "NotIn",', "must be 'In',"
    ),
    "precache for nodes with a space": _precache("nodeSelector.zone", "a b", "must be the value of a label"),
    "percent above 100": _precache("parallelism", "101%", SHARE),
    "negative parallelism": _precache("parallelism", -1, SHARE, "must be text"),
    "parallelism in words": _precache("parallelism", "all", SHARE),
    "no time to fetch": _precache("timeoutSeconds", 0, "greater than or equal to 10", "must be 10 or more"),
    "backoff that begins above its end": _precache(
        "backoff.initialSeconds", 61, "`initialSeconds` must not be more than `maxSeconds`"
    ),
    "cron line of four fields": _precache("windows.0.schedule", "0 22 * *", SCHEDULE, "must have at least 9 char"),
    "cron line with seconds": _precache("windows.0.schedule", "0 0 22 * * *", SCHEDULE),
    "cron line by a word": _precache("windows.0.schedule", "@midnight", SCHEDULE),
    "cron line of two lines": _precache("windows.0.schedule", "0 22 * * *\n", SCHEDULE),
    "window of no time": _precache("windows.0.durationSeconds", 0, "greater than or equal to 60", "must be 60 or more"),
    "window without an end": _precache(
        "windows.0.durationSeconds", REMOVE, "durationSeconds: Required value", "durationSeconds` must be set"
    ),
    "time zone that is a path": _precache(
        "windows.0.timeZone", "../../etc/localtime", "must be the name of a time zone, like UTC or Europe/Berlin"
    ),
    "time zone by its offset": _precache(
        "windows.0.timeZone", "+01:00", "must be the name of a time zone, like UTC or Europe/Berlin"
    ),
}

TOLD_BY_THE_OPERATOR_ALONE: dict[str, BadCase] = {
    "hour that no day has": _precache("windows.0.schedule", "0 25 * * *", ROUND),
    "day that no month has": _precache("windows.0.schedule", "0 0 31 2,4 *", ROUND),
    "time zone of another world": _precache(
        "windows.0.timeZone", "Mars/Olympus_Mons", "must be a time zone that the operator knows"
    ),
    "time zone that is a folder": _precache(
        "windows.0.timeZone", "America/Argentina", "must be a time zone that the operator knows"
    ),
}
"""What CEL cannot tell: the API server takes these, and the operator says InvalidSpec."""
