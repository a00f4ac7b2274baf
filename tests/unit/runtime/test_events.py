"""Events as they are sent."""

from typing import Any

from imageservice.runtime.events import SAME_NEWS_SECONDS, event, shortened

NOW = 1_790_000_000.0
SERVICE = {
    "apiVersion": "imageservice.dev/v1alpha1",
    "kind": "ImageService",
    "metadata": {"name": "glance", "namespace": "ns", "uid": "u-1", "resourceVersion": "5"},
}


def made(reason: str = "Ready", message: str = "It works.", now: float = NOW, **metadata: str) -> dict[str, Any]:
    regarding = SERVICE | {"metadata": {**SERVICE["metadata"], **metadata}}  # type: ignore[dict-item]
    return event(regarding, "Normal", reason, message, instance="operator-0", now=now)


def test_an_event_names_its_object_its_source_and_its_time() -> None:
    manifest = made()
    assert manifest["involvedObject"]["uid"] == "u-1"
    assert manifest["metadata"]["namespace"] == "ns"
    assert manifest["metadata"]["name"].startswith("glance.")
    assert (manifest["reportingComponent"], manifest["reportingInstance"]) == ("image-service-operator", "operator-0")
    assert manifest["firstTimestamp"] == manifest["lastTimestamp"] == "2026-09-21T14:13:20Z"


def test_the_same_news_has_the_same_name_for_a_while_and_other_news_another() -> None:
    start = NOW - NOW % SAME_NEWS_SECONDS
    name = made(now=start)["metadata"]["name"]
    assert made(now=start + SAME_NEWS_SECONDS - 1)["metadata"]["name"] == name
    others = [made(now=start + SAME_NEWS_SECONDS), made("Other", now=start), made(message="x", now=start)]
    others.append(made(now=start, uid="u-2"))
    assert name not in {other["metadata"]["name"] for other in others}


def test_the_name_of_an_event_about_the_longest_name_is_legal() -> None:
    name = made(name="a" * 236 + ".b" * 8)["metadata"]["name"]
    assert len(name) <= 253
    assert ".." not in name


def test_a_long_message_is_cut_to_the_bytes_that_are_allowed() -> None:
    assert shortened("short") == "short"
    for text in ("x" * 2000, "ü" * 2000, "x" + "漢" * 1000):
        cut = shortened(text)
        assert len(cut.encode()) <= 1024
        assert cut.endswith("...")
        assert text.startswith(cut[:-3])
