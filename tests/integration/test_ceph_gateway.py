"""The object gateway of the tests: S3 with keys, Swift with tokens of a real Keystone, its data in the cluster."""

import hashlib
import random
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator

import pytest
from tests.ceph.gateway import Gateway, gateway
from tests.ceph.sites import TwoClusters
from tests.keystone import REGION, KeystoneServer

pytestmark = pytest.mark.ceph

DATA = random.Random(6).randbytes(5 * 2**20)


@pytest.fixture(scope="module")
def objects(two_ceph_clusters: TwoClusters, keystone: KeystoneServer) -> Iterator[Gateway]:
    began = time.monotonic()
    with gateway(two_ceph_clusters.dcn0, keystone) as running:
        print(f"the gateway is ready after {time.monotonic() - began:.1f} s")
        yield running


def test_an_object_is_written_and_read_with_the_keys_and_not_without(objects: Gateway) -> None:
    objects.create_bucket("glance")
    objects.put("glance", "object", DATA)
    assert objects.objects("glance") == {"object": len(DATA)}
    assert objects.sha512("glance", "object") == hashlib.sha512(DATA).hexdigest()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{objects.url}/glance/object", timeout=10)


def test_swift_is_in_the_catalogue_and_takes_tokens(objects: Gateway, keystone: KeystoneServer) -> None:
    user = f"swift-{uuid.uuid4().hex[:8]}"
    keystone.create_user(user, "swift-password", "service", "service")
    token, content = keystone.login(user, "swift-password", "service")
    catalog = {entry["type"]: entry["endpoints"] for entry in content["token"]["catalog"]}
    url = next(entry["url"] for entry in catalog["object-store"] if entry["region_id"] == REGION)

    def call(method: str, path: str, token: str, data: bytes | None = None) -> bytes:
        headers = {"X-Auth-Token": token, "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(f"{url}/{path}", method=method, headers=headers, data=data)
        with urllib.request.urlopen(request, timeout=30) as answer:
            body: bytes = answer.read()
        return body

    call("PUT", "container", token)
    call("PUT", "container/object", token, DATA)
    assert call("GET", "container/object", token) == DATA
    assert objects.objects("container") == {"object": len(DATA)}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        call("GET", "container/object", "forged")


def test_a_stopped_gateway_refuses_connections_until_it_is_back(objects: Gateway) -> None:
    objects.create_bucket("kept")
    objects.put("kept", "object", b"kept")
    objects.stop()
    with pytest.raises(urllib.error.URLError, match="refused"):
        objects.sha512("kept", "object")
    objects.start()
    assert objects.sha512("kept", "object") == hashlib.sha512(b"kept").hexdigest()
