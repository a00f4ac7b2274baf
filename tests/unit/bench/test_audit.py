import json

import pytest
from bench.audit import AuditLog, by_verb, by_verb_and_resource, parse

USER = "bench:operator"


def event(verb="patch", stage="ResponseComplete", user=USER, at="2026-01-02T03:04:05.678901Z", **about):
    content = {
        "stage": stage,
        "verb": verb,
        "requestURI": "/apis/apps/v1/namespaces/n/deployments/d?fieldManager=x",
        "user": {"username": user},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": at,
    }
    if about:
        content["objectRef"] = about
    return json.dumps(content)


def test_a_request_is_known_by_its_verb_its_resource_and_its_object():
    found = parse(event(resource="deployments", namespace="n", name="d"), USER)
    assert (found.verb, found.resource, found.namespace, found.name, found.status) == (
        "patch",
        "deployments",
        "n",
        "d",
        200,
    )
    assert found.at == pytest.approx(1767323045.678901)


def test_a_subresource_is_told_from_its_object():
    assert parse(event(resource="imageservices", subresource="status"), USER).resource == "imageservices/status"


def test_what_is_no_resource_is_known_by_its_path():
    line = event(verb="get").replace("/apis/apps/v1/namespaces/n/deployments/d?fieldManager=x", "/apis?timeout=3s")
    assert parse(line, USER).resource == "/apis"


def test_requests_of_others_do_not_count():
    assert parse(event(user="system:kube-scheduler"), USER) is None


def test_a_watch_counts_once_when_it_begins():
    assert parse(event(verb="watch", stage="ResponseStarted", resource="jobs"), USER)
    assert parse(event(verb="watch", stage="ResponseComplete", resource="jobs"), USER) is None


@pytest.mark.parametrize(
    ("verb", "resource", "is_write", "is_work"),
    [
        ("patch", "deployments", True, True),
        ("create", "events", True, True),
        ("get", "secrets", False, True),
        ("list", "pods", False, True),
        ("watch", "jobs", False, False),
        ("update", "leases", True, False),
        ("deletecollection", "secrets", True, True),
    ],
)
def test_leadership_and_watches_are_no_work_and_reads_are_no_writes(verb, resource, is_write, is_work):
    stage = "ResponseStarted" if verb == "watch" else "ResponseComplete"
    found = parse(event(verb=verb, stage=stage, resource=resource), USER)
    assert (found.is_write, found.is_work) == (is_write, is_work)


def test_a_line_that_is_still_being_written_is_read_when_it_is_complete(tmp_path):
    path = tmp_path / "audit.log"
    whole, half = event(resource="jobs"), event(resource="secrets")
    path.write_text(whole + "\n" + half[:40])
    log = AuditLog(path, USER)
    log.update()
    assert [request.resource for request in log.requests] == ["jobs"]
    path.write_text(whole + "\n" + half + "\n")
    log.update()
    log.update()
    assert [request.resource for request in log.requests] == ["jobs", "secrets"]
    assert [request.resource for request in log.since(1)] == ["secrets"]


def test_counts_are_for_each_instance_and_the_most_frequent_come_first():
    lines = [event(resource="services"), *[event(verb="get", resource="jobs")] * 4, event(resource="services")]
    requests = [parse(line, USER) for line in lines]
    assert list(by_verb_and_resource(requests, per=2).items()) == [("get jobs", 2.0), ("patch services", 1.0)]
    assert by_verb(requests) == {"get": 4, "patch": 2}
