"""Why pods do not get ready: one stable sentence, no secret in it."""

import pytest

from imageservice.sensitive import Sensitive
from imageservice.status.masking import redact
from imageservice.status.pods import diagnose, last_line


def pod(name="api-1", **container):
    return {"metadata": {"name": name}, "status": {"containerStatuses": [{"name": "glance-api", **container}]}}


def crashed(code=1, message="", reason="Error"):
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (pod(image="x:1", state={"waiting": {"reason": "ErrImagePull"}}), "ImageNotPulled", "`x:1`"),
        (pod(image="x:1", state={"waiting": {"reason": "InvalidImageName"}}), "ImageNotPulled", "`x:1`"),
        (
            pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=crashed(3, "boot\nno such option")),
            "PodCrashing",
            "code 3. Its last words: no such option",
        ),
        (pod(state=crashed(137, reason="OOMKilled")), "PodOutOfMemory", "limits.memory"),
        (
            pod(state={"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}}),
            "PodNotStarted",
            "no secret",
        ),
        (
            {
                "metadata": {"name": "p"},
                "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes."}]},
            },
            "PodNotScheduled",
            "0/2 nodes.",
        ),
    ],
)
def test_each_kind_of_trouble_has_its_reason(found, reason, words):
    problem = diagnose([found])
    assert problem is not None
    assert problem.reason == reason
    assert words in problem.message


def test_a_pod_that_came_back_or_goes_away_is_no_trouble():
    back = pod(ready=True, state={"running": {}}, lastState=crashed(1))
    leaving = pod(state=crashed(143))
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert diagnose([back, leaving]) is None


def test_a_pull_that_is_tried_again_keeps_its_sentence():
    states = ("ErrImagePull", "ImagePullBackOff")
    first, second = (diagnose([pod(image="x", state={"waiting": {"reason": s, "message": s}})]) for s in states)
    assert first == second


def test_two_crashes_at_different_times_keep_their_sentence():
    lines = [
        "2026-01-01 10:00:00.123 7 ERROR glance [-] object at 0x7f001122 failed",
        "2026-02-02 11:11:11.456 19 ERROR glance [-] object at 0x7f99aabb failed",
    ]
    first, second = (diagnose([pod(state=crashed(1, line))]) for line in lines)
    assert first is not None
    assert first == second
    assert "ERROR glance [-] object at 0x... failed" in first.message


def test_no_secret_is_repeated_from_a_log():
    said = "cannot connect to mysql+pymysql://glance:hunter2@db/glance as hunter2, token abc"
    assert (
        redact(said, [Sensitive("abc")])
        == "cannot connect to mysql+pymysql://glance:***@db/glance as hunter2, token ***"
    )
    assert "hunter2" not in redact(said, [Sensitive("hunter2")])


def test_the_last_line_skips_what_says_nothing():
    assert last_line("one\ntwo\n\n  \n") == "two"
    assert last_line("") == ""


def test_what_the_server_says_after_the_error_is_not_its_cause():
    log = """  File "glance/notifier.py", line 95, in get_transport
oslo_messaging.transport.DriverLoadFailure: Failed to load transport driver "nosuchdriver"
[2026-01-01 10:00:00 +0000] [7] [INFO] Worker exiting (pid: 7)
[2026-01-01 10:00:00 +0000] [1] [ERROR] Worker (pid:7) exited with code 3.
[2026-01-01 10:00:00 +0000] [1] [ERROR] Shutting down: Master
[2026-01-01 10:00:00 +0000] [1] [ERROR] Reason: Worker failed to boot.
2026-01-01 10:00:00.123 7 INFO glance.common.wsgi_app [None req-1 - - - - - -] Waiting for remaining threads
"""
    assert last_line(log).startswith("oslo_messaging.transport.DriverLoadFailure: Failed to load")
