"""What the agent answers to clients that are not allowed, and to what makes no sense; a process with its real parts."""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent_process import NODE, TOKEN, Agent
from tests.unit.prefetcher.test_sets import GOOD

SCRIPTED_WORKER = Path(__file__).parent / "scripted_worker.py"
ID = str(uuid.UUID(int=1))


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    directory = tmp_path_factory.mktemp("agent")
    (directory / "script.json").write_text("{}")
    with Agent.install(directory, SCRIPTED_WORKER).running() as running:
        yield running


ALL = [
    ("GET", "/v1/status"),
    ("PUT", f"/v1/sets/{ID}"),
    ("DELETE", f"/v1/sets/{ID}"),
    ("GET", "/v1/cache"),
    ("DELETE", "/v1/cache"),
    ("DELETE", f"/v1/cache/{ID}"),
    ("PUT", f"/v1/queue/{ID}"),
    ("DELETE", f"/v1/queue/{ID}"),
    ("DELETE", "/v1/queue"),
    ("GET", "/metrics"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), ALL)
def test_nothing_but_the_probe_is_answered_without_the_token(agent: Agent, method: str, path: str) -> None:
    wrong: list[dict[str, str]] = [
        {},
        {"X-Image-Service-Token": TOKEN[:-1]},
        {"X-Image-Service-Token": f"{TOKEN}x"},
        {"X-Image-Service-Token": "\xff"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer"},
    ]
    for headers in wrong:
        status, content, _ = agent.call(method, path, token="", headers=headers)
        assert (status, content["reason"]) == (401, "TokenRefused")
    assert agent.status()["sets"] == {}


def test_the_token_is_taken_in_both_ways(agent: Agent) -> None:
    assert agent.call("GET", "/healthz", token="")[:2] == (200, "ok\n")
    for headers in ({"x-image-service-token": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}):
        assert agent.call("GET", "/v1/status", token="", headers=headers)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/", 404, "NotFound"),
        ("GET", "/v1/status/", 404, "NotFound"),
        ("GET", "/v1/sets", 404, "NotFound"),
        ("POST", "/v1/status", 405, "MethodNotAllowed"),
        ("GET", f"/v1/sets/{ID}", 405, "MethodNotAllowed"),
        ("PUT", "/v1/sets/..%2f..%2fetc", 400, "BadId"),
        ("PUT", "/v1/sets/golden", 400, "BadId"),
        ("PUT", "/v1/queue/..", 400, "BadId"),
        ("DELETE", "/v1/cache/x", 400, "BadId"),
        ("DELETE", f"/v1/cache/{ID}", 404, "NotCached"),
    ],
)
def test_what_there_is_not_is_told_with_a_reason(
    agent: Agent, method: str, path: str, status: int, reason: str
) -> None:
    answer = agent.call(method, path)
    assert (answer[0], answer[1]["reason"]) == (status, reason)
    assert answer[1]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"\xff\xfe",
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b"null",
        b"9" * 5000,
        json.dumps({**GOOD, "images": ["x"]}).encode(),
        json.dumps({**GOOD, "until": float("nan")}).encode(),
    ],
)
def test_a_body_that_is_no_set_is_refused_and_repeated_nowhere(agent: Agent, body: bytes) -> None:
    status, content, _ = agent.call("PUT", f"/v1/sets/{ID}", body)
    assert (status, content["reason"]) == (400, "BadSet")
    assert len(content["message"]) < 200
    assert agent.status()["sets"] == {}


def test_a_status_that_has_not_changed_is_not_sent_again(agent: Agent) -> None:
    uid = agent.put_set(fetch=False)
    time.sleep(0.2)
    _, content, headers = agent.call("GET", "/v1/status")
    assert content["node"] == NODE
    again = agent.call("GET", "/v1/status", headers={"If-None-Match": headers["ETag"]})
    assert again[:2] == (304, "")
    assert again[2]["ETag"] == headers["ETag"]
    agent.call("DELETE", f"/v1/sets/{uid}")
    assert agent.call("GET", "/v1/status", headers={"If-None-Match": headers["ETag"]})[0] == 200


def test_a_set_is_on_the_disk_when_it_is_answered(agent: Agent) -> None:
    uid = agent.put_set(ID, fetch=False, revision="r7")
    kept: dict[str, Any] = json.loads((agent.state / "sets" / f"{uid}.json").read_text())
    assert (kept["revision"], kept["images"]) == ("r7", [ID])
    assert agent.call("DELETE", f"/v1/sets/{uid}")[:2] == (200, {"deleted": True})
    assert not (agent.state / "sets" / f"{uid}.json").exists()
    assert agent.call("DELETE", f"/v1/sets/{uid}")[:2] == (200, {"deleted": False})
