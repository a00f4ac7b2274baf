import hashlib, random
from collections.abc import Iterator
import pytest
from tests.glance import client
from tests.glance.conftest import InstalledGlance
from tests.glance.prefetcher import CacheNode, cache_node
from tests.keystone import KeystoneServer
from tests.unit.render import samples

pytestmark = pytest.mark.glance

DATA = random.Random(3).randbytes(5 * 2**20 + 17)

@pytest.fixture(scope="module")
def node(installed, keystone, tmp_path_factory):
    stores = (samples.store("central"), samples.store("near"))
    with cache_node(stores, installed, installed.environment, keystone, tmp_path_factory.mktemp("node")) as running:
        yield running

def test_smoke(node):
    a = node.upload(DATA, "near")
    with node.worker() as worker:
        print(worker.ask("list"), worker.level("VmRSS"))
        print(worker.ask("facts", ids=[a]))
        worker.send("fetch", id=a, bytesPerSecond=None,timeoutSeconds=60,stallSeconds=60,roomBytes=2**30)
        while True:
            l=worker.line(); print(l)
            if "progress" not in l: break
        print(worker.fetch(a), node.rows(), worker.ask("list"), worker.ask("repair"))
        print(worker.level("VmRSS"), worker.log)
        print(worker.ask("prune",targetBytes=0,keep=[a]), worker.ask("prune",targetBytes=0,keep=[]), worker.ask("list"))
    assert 0
