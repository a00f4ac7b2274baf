"""A node of a cache: real Glance with the cache on, and the prefetcher's worker beside it on the same directory."""

import contextlib
import json
import queue
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.agent_process import Agent
from tests.glance import client
from tests.glance.api_process import environment_variables
from tests.glance.conftest import InstalledGlance
from tests.glance.stores import StoresGlance, glance_with
from tests.keystone import KeystoneServer
from tests.waiting import wait_for

import imageservice.prefetcher
from imageservice.render import glance_config
from imageservice.render.inputs import StoreInputs
from imageservice.render.stores.paths import store_directory

SOURCES = Path(imageservice.prefetcher.__file__).parent
CACHE_DIR = "/var/lib/glance-cache/images"
ANSWER_SECONDS = 120.0
GIBIBYTE = 2**30
FETCH: Mapping[str, Any] = {
    "bytesPerSecond": None,
    "timeoutSeconds": 3600,
    "stallSeconds": 600,
    "roomBytes": 100 * GIBIBYTE,
}
STAGING_CLAIM = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "staging"}}
"""With staging of its own, an API would call itself by its pod's address, and not by its node's."""

Json = dict[str, Any]


class Worker:
    """A running worker, spoken to as the supervisor does."""

    def __init__(self, environment: Path, variables: Mapping[str, str], directory: Path, *start: str) -> None:
        modules = directory / "modules"
        modules.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (modules / SOURCES.name).symlink_to(SOURCES)
        self.log_file = directory / f"worker-{uuid.uuid4().hex[:6]}.log"
        with self.log_file.open("wb") as log:
            # The kernel ends it with the test run, however that ends.
            python = ["setpriv", "--pdeathsig", "KILL", environment / "bin" / "python", "-B"]
            self.process = subprocess.Popen(
                [*python, *(start or ("-m", "prefetcher.worker"))],
                env={"MALLOC_ARENA_MAX": "2", **variables, "PYTHONPATH": str(modules)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return self.log_file.read_text()

    def send(self, do: str, **more: Any) -> None:
        """Send a request."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")

    def line(self, seconds: float = ANSWER_SECONDS) -> Json:
        """Return the next line."""
        text = self._lines.get(timeout=seconds)
        assert text, f"the worker ended with {self.process.wait(timeout=10)}:\n{self.log}"
        found: Json = json.loads(text)
        return found

    def answer(self, seconds: float = ANSWER_SECONDS) -> Json:
        """Return the next line that tells of no progress."""
        while "progress" in (found := self.line(seconds)):
            pass
        return found

    def ask(self, do: str, **more: Any) -> Json:
        """Send a request and return the answer."""
        self.send(do, **more)
        return self.answer()

    def fetch(self, image_id: str, **limits: Any) -> Json:
        """Fetch an image and return how that ended."""
        return self.ask("fetch", id=image_id, **{**FETCH, **limits})

    def begin(self, image_id: str, **limits: Any) -> None:
        """Ask for an image, and return once its first bytes are there."""
        self.send("fetch", id=image_id, **{**FETCH, **limits})
        while not (told := self.line()).get("progress"):
            assert "progress" in told, told

    def listed(self) -> set[str]:
        """Return the ids of what is cached."""
        return {row["id"] for row in self.ask("list")["cached"]}

    def level(self, name: str) -> int:
        """Return a number of /proc/<pid>/status in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:"))) // 1024

    def kill(self) -> None:
        """Kill it in whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def end(self) -> None:
        """Close its input, upon which it has to end."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            assert self.process.wait(timeout=10) == 0, self.log
        finally:
            self.process.kill()
            self.process.wait(timeout=10)


@dataclass
class CacheNode:
    """A node with its API; the first store is the one that is read first."""

    at: StoresGlance
    environment: Path
    variables: Mapping[str, str]

    @property
    def cache(self) -> Path:
        """The cache directory."""
        return Path(self.variables["OS_DEFAULT__IMAGE_CACHE_DIR"])

    def start(self, *start: str, **variables: str) -> Worker:
        """Start a worker; `start` in place of its module, `variables` besides those of the container."""
        own = environment_variables(self.at.glance.path(glance_config.CONFIG_DIR))
        return Worker(self.environment, {**own, **self.variables, **variables}, self.at.glance.directory, *start)

    @contextlib.contextmanager
    def worker(self, **variables: str) -> Iterator[Worker]:
        """Run a worker until the block ends, if it has not ended before."""
        worker = self.start(**variables)
        try:
            yield worker
        finally:
            if worker.process.poll() is None:
                worker.end()

    def data(self, store: str, image_id: str) -> Path:
        """Return the file of an image in a store."""
        return self.at.glance.path(store_directory(store)) / image_id

    def upload(self, data: bytes, *more_stores: str) -> str:
        """Make an image in the first store, and copies in others; return its id."""
        image_id = client.upload(self.at.glance, self.at.user, data)
        if more_stores:
            answer = client.import_image(
                self.at.glance, self.at.administrator, image_id, "copy-image", stores=list(more_stores)
            )
            assert answer.status == 202, answer.body
            wait_for(lambda: self._has_copies(image_id, more_stores), 60, "the copies are there")
        return image_id

    def _has_copies(self, image_id: str, stores: tuple[str, ...]) -> bool:
        found = client.image(self.at.glance, self.at.user, image_id)
        return set(stores) <= client.names(found["stores"]) and not found.get("os_glance_import_task")

    def rows(self) -> dict[str, Json]:
        """Return what the API lists as cached, by id."""
        answer = self.at.glance.call("GET", "/v2/cache", token=self.at.administrator.token)
        assert answer.status == 200, answer.body
        return {row["image_id"]: row for row in json.loads(answer.body)["cached_images"]}

    def act(self, image_id: str, action: str) -> None:
        """Deactivate or reactivate an image."""
        path = f"/v2/images/{image_id}/actions/{action}"
        assert self.at.glance.call("POST", path, token=self.at.administrator.token).status == 204


def agent_of(node: CacheNode, directory: Path, address: str = "", **settings: Any) -> Agent:
    """Return the agent of a node, to be started; `directory` holds the program.

    `address` is how Glance knows the node, if not by its own.
    """
    config = node.at.glance.path(glance_config.CONFIG_DIR)
    variables = {**environment_variables(config), **node.variables}
    if address:
        variables["OS_DEFAULT__WORKER_SELF_REFERENCE_URL"] = address
    variables["PYTHONPATH"] = f"{directory}:{variables.get('PYTHONPATH', '')}"
    return Agent.install(
        directory,
        variables=variables,
        python=node.environment / "bin" / "python",
        **{"cacheDir": str(node.cache), "glanceConfigDir": str(config), **settings},
    )


@contextlib.contextmanager
def cache_node(  # noqa: PLR0917 - one for each thing that it runs on
    stores: tuple[StoreInputs, ...],
    installed: InstalledGlance,
    environment: Path,
    keystone: KeystoneServer,
    directory: Path,
    cache: Path | None = None,
    more: Mapping[str, str] = {},
    database_url: str = "",
) -> Iterator[CacheNode]:
    """Run an API with its cache on, and with a database of its own unless it is given one.

    `more` is added to its environment, and to that of its agent.
    """
    variables = {
        **more,
        "OS_DEFAULT__IMAGE_CACHE_DIR": str(cache or directory / CACHE_DIR.lstrip("/")),
        "OS_DEFAULT__WORKER_SELF_REFERENCE_URL": f"http://node-{uuid.uuid4().hex[:6]}:9292",
        "OS_PASTE_DEPLOY__FLAVOR": "keystone+cachemanagement",
        "OS_PASTE_DEPLOY__CONFIG_FILE": str(environment / "etc" / "glance" / "glance-api-paste.ini"),
    }
    imports = {"methods": ["glance-direct", "copy-image"], "staging": STAGING_CLAIM}
    with glance_with(
        stores, installed, environment, keystone, directory, variables, database_url, imports=imports
    ) as at:
        yield CacheNode(at, environment, variables)
