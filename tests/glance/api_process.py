"""Real Glance under real gunicorn, with the files that the operator renders; only paths and addresses differ."""

import contextlib
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from tests.ports import free_port

from imageservice.render import glance_config, stores
from imageservice.render.inputs import ImageServiceInputs, StoreInputs
from imageservice.render.store_mounts import store_variables
from imageservice.render.stores.paths import DRIVER_FILES_DIR, OPTIONS_DIR, store_directory

START_SECONDS = 90
STOP_SECONDS = 60


def write_config(inputs: ImageServiceInputs, directory: Path, port: int) -> Path:
    """Write the rendered files below `directory` and return the one that is `CONFIG_DIR` in a pod.

    What is a volume in a pod is a directory here. The rendered text is changed in two ways only: paths lead below
    `directory`, and the socket is one of the loopback.
    """
    for path in (glance_config.STAGING_DIR, glance_config.TASKS_DIR, glance_config.RUN_DIR, glance_config.CONFIG_DIR):
        local(directory, path).mkdir(parents=True, exist_ok=True)
    for store in inputs.stores:
        local(directory, store_directory(store.store_id)).mkdir(parents=True, exist_ok=True)
        write_store_files(store, directory)
    config = local(directory, glance_config.CONFIG_DIR)
    changes = _in_place_of_pods(directory)
    listener = {"0.0.0.0": "127.0.0.1", ":9292": f":{port}"}
    for name, text in glance_config.config_files(inputs).items():
        all_changes = changes | (listener if name == glance_config.GUNICORN_CONF else {})
        (config / name).write_text(_changed(text, all_changes), encoding="utf-8")
    return config


_PATHS = (glance_config.DATA_DIR, glance_config.RUN_DIR, glance_config.CONFIG_DIR, DRIVER_FILES_DIR)


def options_directory(config: Path) -> Path:
    """Return what is `OPTIONS_DIR` in a pod. Glance looks into the home directory before it looks into /etc."""
    return config.parent / ".glance" / Path(OPTIONS_DIR).name


def write_store_files(store: StoreInputs, directory: Path) -> list[Path]:
    """Write what the pods have of a store's Secret, the first time or anew, and return the files."""
    place = stores.place(store)
    if place is None:
        return []
    config = local(directory, glance_config.CONFIG_DIR)
    folder = options_directory(config) if place is stores.Place.OPTIONS else local(directory, place.value)
    folder.mkdir(parents=True, exist_ok=True)
    written = {folder / name: text for name, text in stores.files(store).items()}
    for file, text in written.items():
        file.write_text(_changed(text, _in_place_of_pods(directory)), encoding="utf-8")
    return list(written)


def _in_place_of_pods(directory: Path) -> dict[str, str]:
    return {path: str(local(directory, path)) for path in _PATHS}


def _changed(text: str, changes: Mapping[str, str]) -> str:
    """Replace all at once, longer texts before those that they begin with."""
    longest_first = sorted(changes, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: changes[found[0]], text)


def local(directory: Path, path: str) -> Path:
    """Return where a path of the pod is below `directory`."""
    return directory / path.lstrip("/")


def environment_variables(config: Path, pod_ips: str = "127.0.0.1") -> dict[str, str]:
    """Return the environment of the container."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return {**kept, "OS_GLANCE_CONFIG_DIR": str(config), "HOME": str(config.parent), "POD_IPS": pod_ips}


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: Message
    body: bytes


@dataclass
class GlanceProcess:
    """A running Glance; `directory` holds what the pod's volumes would."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it wrote to stdout and stderr."""
        return (self.directory / "log").read_text(errors="replace")

    def path(self, path: str) -> Path:
        """Return where a path of the pod is."""
        return local(self.directory, path)

    def call(
        self, method: str, path: str, *, token: str = "", headers: Mapping[str, str] = {}, body: bytes | None = None
    ) -> Answer:
        """Send a request; return whatever comes back."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=body,
            headers={**({"X-Auth-Token": token} if token else {}), **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as refusal:
            return Answer(refusal.code, refusal.headers, refusal.read())

    def terminate(self) -> None:
        """Send SIGTERM, as the kubelet does."""
        self.process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def running_glance(
    environment: Path, inputs: ImageServiceInputs, directory: Path, variables: Mapping[str, str] = {}
) -> Iterator[GlanceProcess]:
    """Write the files, start gunicorn as the Deployment does, and stop it at the end. The tables must be there.

    `variables` are added to those of the container.
    """
    port = free_port()
    config = write_config(inputs, directory, port)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            # The kernel ends it with the test run, however that ends.
            [
                *("setpriv", "--pdeathsig", "TERM", environment / "bin" / "gunicorn"),
                *("--config", config / glance_config.GUNICORN_CONF, "glance.wsgi.api:application"),
            ],
            env=environment_variables(config)
            | {entry["name"]: entry["value"] for entry in store_variables(inputs.stores)}
            | dict(variables),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    glance = GlanceProcess(directory, port, process)
    try:
        _wait(glance)
        yield glance
    finally:
        _stop(process)


def _wait(glance: GlanceProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and glance.process.poll() is None:
        with contextlib.suppress(OSError):
            if glance.call("GET", "/healthcheck").status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"Glance did not start:\n{glance.log[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
