"""Paths of objects."""

from imageservice.runtime.kinds import DEPLOYMENT, IMAGE_SERVICE, SECRET, Key


def test_paths_are_those_of_the_kubernetes_api() -> None:
    assert SECRET.path("ns", "a") == "/api/v1/namespaces/ns/secrets/a"
    assert DEPLOYMENT.path("ns") == "/apis/apps/v1/namespaces/ns/deployments"
    assert DEPLOYMENT.path() == "/apis/apps/v1/deployments"
    assert IMAGE_SERVICE.path("ns", "a.b", "status") == (
        "/apis/imageservice.dev/v1alpha1/namespaces/ns/imageservices/a.b/status"
    )


def test_a_name_can_never_lead_to_another_path() -> None:
    assert SECRET.path("ns", "../../x?y") == "/api/v1/namespaces/ns/secrets/..%2F..%2Fx%3Fy"


def test_items_of_a_list_get_the_kind_that_the_api_server_leaves_out() -> None:
    assert SECRET.complete({"metadata": {}}) == {"metadata": {}, "apiVersion": "v1", "kind": "Secret"}
    assert str(Key(SECRET, "ns", "a")) == "Secret ns/a"
