"""What an agent says of the images that are wanted on its node, and what it tells Prometheus."""

import uuid
from typing import Any

import pytest

from imageservice.prefetcher.metrics import Counts, Levels, metrics
from imageservice.prefetcher.room import Limits
from imageservice.prefetcher.scan import Scan
from imageservice.prefetcher.schedule import Known
from imageservice.prefetcher.sets import DesiredSet
from imageservice.prefetcher.state import Outcome
from imageservice.prefetcher.status import Current, Row, Whole, status

NOW = 1_800_000_000.0
IMAGE, OTHER = (str(uuid.UUID(int=number)) for number in (1, 2))
FAILED = Outcome("DataMissing", "gone", 2, NOW + 60, 500)
AWAY = Outcome("DatabaseUnreachable", "away", 7, NOW + 5)
NOTHING: dict[str, Any] = {
    "sizeBytes": None,
    "doneBytes": 0,
    "reason": "",
    "message": "",
    "attempts": 0,
    "retryAt": None,
}


def whole(
    *, fetch: bool = True, until: float | None = None, cached: dict[str, int] | None = None, **more: Any
) -> Whole:
    wanting = DesiredSet("u", "golden", "r1", (IMAGE,), fetch, until, 1, 1, 1)
    queued, outcomes = more.pop("queued", ()), more.pop("outcomes", {})
    given: dict[str, Any] = {"seen": Scan(), "rows": {}, "sizes": {}, "current": None, "trouble": None, **more}
    return Whole(Known(NOW, [wanting], cached or {}, queued, outcomes), **given)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (whole(), {"state": "Waiting"}),
        (whole(fetch=False), {"state": "Waiting", "reason": "NotGranted"}),
        (whole(until=NOW), {"state": "Waiting", "reason": "WindowClosed"}),
        (whole(fetch=False, queued=(IMAGE,)), {"state": "Waiting"}),
        (whole(sizes={IMAGE: 500}), {"state": "Waiting", "sizeBytes": 500}),
        (whole(cached={IMAGE: 500}), {"state": "Cached", "sizeBytes": 500, "doneBytes": 500}),
        (whole(cached={IMAGE: 500}, outcomes={IMAGE: FAILED}), {"state": "Cached", "sizeBytes": 500, "doneBytes": 500}),
        (
            whole(current=Current(IMAGE, 500, 20), outcomes={IMAGE: FAILED}),
            {
                "state": "Fetching",
                "sizeBytes": 500,
                "doneBytes": 20,
                # What went wrong is told until it has come right.
                "reason": "DataMissing",
                "message": "gone",
                "attempts": 2,
            },
        ),
        (whole(current=Current(OTHER, 500, 20)), {"state": "Waiting"}),
        (
            whole(outcomes={IMAGE: FAILED}),
            {
                "state": "Failed",
                "sizeBytes": 500,
                "reason": "DataMissing",
                "message": "gone",
                "attempts": 2,
                "retryAt": NOW + 60,
            },
        ),
        (
            whole(outcomes={IMAGE: FAILED}, fetch=False),
            {
                "state": "Failed",
                "sizeBytes": 500,
                "reason": "DataMissing",
                "message": "gone",
                "attempts": 2,
                # By it the operator knows when to let the node try again.
                "retryAt": NOW + 60,
            },
        ),
        (
            whole(trouble=AWAY),
            {"state": "Failed", "reason": "DatabaseUnreachable", "message": "away", "attempts": 7, "retryAt": NOW + 5},
        ),
        (whole(trouble=AWAY, fetch=False), {"state": "Waiting", "reason": "NotGranted"}),
        (whole(trouble=AWAY, cached={IMAGE: 1}), {"state": "Cached", "sizeBytes": 1, "doneBytes": 1}),
    ],
)
def test_the_state_of_an_image(what: Whole, expected: dict[str, Any]) -> None:
    assert status("node-1", "2026.1", Limits(1000, 90, 80), what)["images"] == {IMAGE: {**NOTHING, **expected}}


def test_the_status_says_what_the_cache_holds_and_which_sets_there_are() -> None:
    gibibyte = 2**30
    seen = Scan({IMAGE: 5, OTHER: 6}, 12, 50 * gibibyte + 1, 100 * gibibyte)
    told = status(
        "node-1", "2026.1", Limits(gibibyte, 90, 80), whole(seen=seen, cached={IMAGE: 5}, rows={IMAGE: Row(5, 3, 1.0)})
    )
    assert told["node"] == "node-1"
    assert told["release"] == "2026.1"
    assert told["sets"] == {"u": {"name": "golden", "revision": "r1", "fetch": True}}
    assert told["cache"] == {
        "usedBytes": 12,
        "maxBytes": gibibyte,
        "limitBytes": gibibyte,
        "freeBytes": 50 * gibibyte,
        "images": 2,
        "hits": 3,
    }


def test_metrics_are_in_the_format_of_prometheus() -> None:
    counts = Counts()
    counts.fetched(2.5, 100)
    counts.fetched(400, 200)
    counts.failures["NoSpace"] += 1
    counts.evicted([5, 6])
    lines = metrics(Levels(1, 2, 3, 4, 5, 6, {"Cached": 7, "Failed": 0}), counts).splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    prefix = "image_service_prefetch"
    assert values[f'{prefix}_fetch_seconds_bucket{{le="1"}}'] == "0"
    assert values[f'{prefix}_fetch_seconds_bucket{{le="5"}}'] == "1"
    assert values[f'{prefix}_fetch_seconds_bucket{{le="900"}}'] == "2"
    assert values[f'{prefix}_fetch_seconds_bucket{{le="+Inf"}}'] == "2"
    assert values[f"{prefix}_fetch_seconds_sum"] == "402.5"
    assert values[f'{prefix}_failures_total{{reason="NoSpace"}}'] == "1"
    assert values[f"{prefix}_fetched_bytes_total"] == "300"
    assert values[f'{prefix}_images{{state="Cached"}}'] == "7"
    assert values["image_service_cache_evicted_bytes_total"] == "11"
    for name in {line.split("{")[0].split(" ")[0] for line in values}:
        family = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        assert any(line.startswith(f"# TYPE {family} ") for line in lines), name
