"""Nodes with a cache, filled by a real operator: real agents and a real Glance as processes on loopback.

The API server and the operator are real, too. What Kubernetes would write of the pods' addresses is written here, and a
node is called by the port of its agent. Images lie in a `slow_source`, and the store monitor that is asked which images
are meant is the rendered one.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.agent_process import Agent
from tests.cluster.cluster import Cluster
from tests.glance import client
from tests.glance.conftest import InstalledGlance
from tests.glance.prefetcher import CacheNode, agent_of, cache_node
from tests.glance.slow_source import SlowSource, slow_source
from tests.glance.store_monitor import store_monitor
from tests.integration.cache_home import CacheHome, cache_operator
from tests.keystone import KeystoneServer
from tests.ports import free_port
from tests.unit.render import samples
from tests.waiting import wait_for

from imageservice.render import glance_config

WEB_STORE = {"OS_DEFAULT__ENABLED_BACKENDS": "central:file,web:http"}
"""With the store that reads images where their location says; the operator renders none of that type."""
ACTIVE_SECONDS = 60


@dataclass(frozen=True)
class CacheNodes:
    """The running parts. Each node has an API with a cache, and an agent that fills it."""

    home: CacheHome
    source: SlowSource
    nodes: tuple[CacheNode, ...]
    agents: tuple[Agent, ...]

    def image(self, content: bytes) -> str:
        """Make an image whose data is in the source, and return its id."""
        glance, user = self.nodes[0].at.glance, self.nodes[0].at.user
        image_id = client.create_image(glance, user)
        known = {"os_hash_algo": "sha512", "os_hash_value": hashlib.sha512(content).hexdigest()}
        body = json.dumps({"url": self.source.put(image_id, content), "validation_data": known}).encode()
        path = f"/v2/images/{image_id}/locations"
        answer = glance.call("POST", path, token=user.token, headers=client.JSON, body=body)
        assert answer.status == 202, answer.body + glance.log[-3000:].encode()
        wait_for(
            lambda: client.image(glance, user, image_id)["status"] == "active", ACTIVE_SECONDS, f"{image_id} is active"
        )
        return image_id

    def evict(self) -> None:
        """Empty all caches; nothing is wanted."""
        for agent in self.agents:
            assert agent.call("DELETE", "/v1/cache?force=true")[0] == 200


@contextlib.contextmanager
def cache_nodes(
    cluster: Cluster, keystone: KeystoneServer, installed: InstalledGlance, directory: Path, count: int
) -> Iterator[CacheNodes]:
    """Run so many nodes."""
    home = CacheHome(cluster, keystone)
    database_url = installed.new_server_database(directory)
    with contextlib.ExitStack() as running:
        source = running.enter_context(slow_source())
        nodes, agents = [], []
        for number in range(count):
            where = directory / f"node-{number}"
            where.mkdir()
            store, environment = samples.store("central"), installed.environment
            node = cache_node(
                (store,), installed, environment, keystone, where, more=WEB_STORE, database_url=database_url
            )
            nodes.append(running.enter_context(node))
            agent = _agent(nodes[-1], where / "agent", home)
            agents.append(running.enter_context(agent.running()))
        config = nodes[0].at.glance.path(glance_config.CONFIG_DIR) / "glance-api.conf"
        python = installed.environment / "bin" / "python"
        monitor = store_monitor(directory / "monitor", python=python, glance_config=config, token=home.token())
        monitor_url = f"http://127.0.0.1:{running.enter_context(monitor).port}"
        operator = cache_operator(cluster, directory / "operator.log", "http://127.0.0.1:{node}", monitor_url)
        running.enter_context(operator)
        running.callback(home.delete)
        home.set_up()
        home.nodes(*(str(agent.settings["port"]) for agent in agents))
        yield CacheNodes(home, source, tuple(nodes), tuple(agents))


def _agent(node: CacheNode, directory: Path, home: CacheHome) -> Agent:
    """Return an agent that is called by its port and knows the operator of `home`."""
    port = free_port()
    agent = agent_of(node, directory, port=port)
    agent.variables = {**agent.variables, "NODE_NAME": str(port)}
    agent.token = home.token()
    return agent
