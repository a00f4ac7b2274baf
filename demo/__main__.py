"""`python -m demo up | down`: from nothing to an image that was uploaded to and downloaded from a real Glance."""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import images, providers, state
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.progress import say

from demo import platform
from demo.bootable_image import bootable_image

HOME = "openstack"
RELEASE = "2026.1"
IMAGES = ("operator", f"glance-{RELEASE}", "mariadb", "keystone")
READY_SECONDS = 180


@contextmanager
def step(number: int, text: str) -> Iterator[None]:
    """Tell what begins, and how long it took."""
    began = time.monotonic()
    say(f"({number}/7) {text}")
    yield
    say(f"      done in {time.monotonic() - began:.0f} s")


def state_directory() -> Path:
    """Where the demo's cluster keeps its state."""
    return state.registry() / "demo"


def up() -> None:
    """Bring everything up, or the rest of it: every step may be repeated."""
    began = time.monotonic()
    with step(1, "Container images: the operator, Glance, MariaDB and Keystone, and a bootable disk image"):
        archives = [images.build(name) for name in IMAGES]
        disk_image = bootable_image()
    with step(2, "A real Kubernetes: control plane and two nodes"):
        cluster = providers.up(state_directory(), nodes=2, keep=True)
    with step(3, "The images onto the nodes"):
        cluster.import_images(*archives)
    with step(4, "MariaDB and Keystone"):
        start_platform(cluster)
    with step(5, "The operator, installed with Helm"):
        platform.install_operator(cluster, (RELEASE,))
    with step(6, "kubectl apply: an ImageService and an ImageStore"):
        apply_image_service(cluster)
        wait_ready(cluster)
        show(cluster)
    with step(7, f"Upload {disk_image.name} ({disk_image.stat().st_size >> 20} MiB) and download it again"):
        transfer(cluster, disk_image)
    say(f"The demo is up after {time.monotonic() - began:.0f} s. Look around, and then `make demo-down`:")
    say(f"    export KUBECONFIG={cluster.kubeconfig}")
    say(f"    .venv/bin/python -m tests.cluster exec --state {state_directory()} kubectl -n {HOME} get glance")


def start_platform(cluster: Cluster) -> None:
    """Make the namespace with MariaDB, Keystone and storage, and wait for the two servers."""
    cluster.apply(platform.namespace(HOME))
    servers = [item for server in (platform.MARIADB, platform.KEYSTONE) for item in platform.server(server, HOME)]
    storage = platform.shared_storage(cluster, HOME) if cluster.shared else []
    cluster.apply(*servers, *platform.secrets(HOME), *storage)
    for name in ("mariadb", "keystone"):
        cluster.kubectl("-n", HOME, "rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)


def apply_image_service(cluster: Cluster) -> None:
    """Apply the two objects. Where no directory is shared by the nodes, the images live in the one pod."""
    service, store = platform.image_service(HOME), platform.image_store(HOME)
    if cluster.shared is None:
        say("      these nodes share no directory: one replica, its images in the pod")
        service["spec"]["api"]["replicas"] = 1
        store["spec"]["filesystem"] = {"volume": {"type": "EmptyDir", "emptyDir": {}}}
    cluster.apply(store, service)


def wait_ready(cluster: Cluster) -> None:
    """Wait for Ready, and tell every change of what stands in the way."""
    deadline, told = time.monotonic() + READY_SECONDS, ""
    while time.monotonic() < deadline:
        status = cluster.get("imageservice", "glance", "-n", HOME).get("status", {})
        conditions = {c["type"]: c for c in status.get("conditions", [])}
        ready = conditions.get("Ready", {})
        why = f"Ready={ready.get('status')}: {ready.get('message')}"
        if why != told:
            say(f"      {why}")
            told = why
        if ready.get("status") == "True":
            return
        time.sleep(0.5)
    raise ClusterError(f"the ImageService is not Ready within {READY_SECONDS} s: {told}")


def show(cluster: Cluster) -> None:
    """Print what a user sees."""
    # kubectl looks for categories only in what it remembers, and it remembers the cluster from before the installation.
    kinds = ["api-resources", "--api-group=imageservice.dev"]
    for arguments in (kinds, ["get", "glance"], ["get", "pods", "-o", "wide"]):
        print(cluster.kubectl("-n", HOME, *arguments).stdout, flush=True)


def transfer(cluster: Cluster, disk_image: Path) -> None:
    """Upload and download through the Service, and compare the checksums."""
    urls = [platform.service_url(cluster, HOME, name) for name in ("keystone", "glance-api")]
    client = Path(__file__).with_name("image_client.py")
    done = cluster.run([sys.executable, client, "transfer", *urls, disk_image], timeout=300)
    report = json.loads(done.stdout)
    print(json.dumps(report, indent=2), flush=True)
    say("      the checksums of what was sent, what Glance says and what came back agree")


def down() -> None:
    """Take the cluster away with everything in it."""
    if not state.State(state_directory()).settings():
        say("there is no demo to take down")
        return
    providers.find(state_directory()).down()


def interrupt(*_: object) -> None:
    """End on SIGTERM as on Ctrl-C."""
    raise KeyboardInterrupt


def main() -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", choices=("up", "down"))
    signal.signal(signal.SIGTERM, interrupt)
    try:
        {"up": up, "down": down}[parser.parse_args().command]()
    except (ClusterError, subprocess.TimeoutExpired) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; `make demo` goes on from here, `make demo-down` takes it away")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
