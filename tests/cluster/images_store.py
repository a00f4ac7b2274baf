"""Images that a node has from the moment it gets power, without importing them.

A containerd of our own imports each image once, into a store in the cache. A node sees the store read-only and starts
on copies of containerd's two small databases, with links to the store in place of layers and blobs: containerd reads
those and never changes them. That takes no time, where importing five images takes a minute of processor time a node,
and the nodes have the layers in the page cache once.

The store follows the archives: what has no archive any more leaves it, as soon as no cluster has a node on it.
"""

import contextlib
import functools
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import ClusterError
from .images_archive import read_reference
from .locks import only_one
from .progress import say
from .state import cache_folder, registry

SEEN_AT = Path("/run/images")
"""Where a node sees the store; see node-init.sh."""

_NAMESPACE = "k8s.io"
_LINK = "store"
_IMPORT_SECONDS = 300
_START_SECONDS = 30
_STOP_SECONDS = 30
_WAIT_SECONDS = 900
# Below the root directory, as containerd 1 and 2 lay it out.
_DATABASES = "io.containerd.*/*.db"
_BLOBS = "io.containerd.content.v1.content/blobs/*/*"
_LAYERS = "io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs"


def usable() -> bool:
    """Whether this machine can have a store: layers cannot be unpacked on an overlay (a cache in a container)."""
    _folder().mkdir(parents=True, exist_ok=True)
    command = ["stat", "-f", "-c", "%T", str(_folder())]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() != "overlayfs"


def keep(archives: Sequence[Path]) -> None:
    """Have the images of these archives in the store, and of those that are gone as few as may be."""
    with only_one(_folder() / "lock", "the nodes' store of images", seconds=_WAIT_SECONDS):
        _update(_folder(), archives)


def furnish(folder: Path, archives: Sequence[Path]) -> None:
    """Give the node of that folder, which is new, the images of these archives: `containerd` for its disk, `store`.

    The containerd that uses them must be this machine's, with the snapshotter `overlayfs`, and see `store` at SEEN_AT.
    Raises ClusterError where an archive cannot be imported.
    """
    store, root = _folder(), folder / "containerd"
    with only_one(store / "lock", "the nodes' store of images", seconds=_WAIT_SECONDS):
        _update(store, archives)
        unfinished = folder / ".containerd"
        shutil.rmtree(unfinished, ignore_errors=True)
        _link(store / "root", unfinished)
        shutil.rmtree(root, ignore_errors=True)
        # While this link is there, nothing is taken out of the store.
        (folder / _LINK).unlink(missing_ok=True)
        (folder / _LINK).symlink_to(store / "root")
        unfinished.rename(root)


@functools.cache
def _folder() -> Path:
    version = subprocess.run(["containerd", "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    digest = hashlib.sha256(version.encode()).hexdigest()[:8]
    return cache_folder() / "container-images" / f"store-{digest}"


def _update(store: Path, archives: Sequence[Path]) -> None:
    known = _known(store)
    missing = [archive for archive in archives if archive.name not in known]
    gone = [name for name in known if not (store.parent / name).exists()]
    if _in_use(store):
        gone = []
    if not missing and not gone:
        return
    with _containerd(store) as ctr:
        for name in gone:
            # Without its image, containerd collects what no other image has.
            _run([*ctr, "images", "rm", "--sync", known.pop(name)])
            _remember(store, known)
        for archive in missing:
            began = time.monotonic()
            _run([*ctr, "images", "import", "--snapshotter", "overlayfs", str(archive)])
            known[archive.name] = read_reference(archive)
            _remember(store, known)
            say(f"{archive.name}: in the nodes' store after {time.monotonic() - began:.0f} s")


def _in_use(store: Path) -> bool:
    """Whether a cluster has nodes on the store."""
    links = (link for cluster in registry().glob("*") for link in cluster.glob(f"nodes/*/{_LINK}"))
    return any(link.resolve() == (store / "root").resolve() for link in links)


def _known(store: Path) -> dict[str, str]:
    """The images in the store: name of the archive -> reference."""
    with contextlib.suppress(FileNotFoundError):
        known: dict[str, str] = json.loads((store / "images.json").read_text())
        return known
    return {}


def _remember(store: Path, known: dict[str, str]) -> None:
    unfinished = store / ".images.json"
    unfinished.write_text(json.dumps(known, indent=1))
    unfinished.rename(store / "images.json")


@contextlib.contextmanager
def _containerd(store: Path) -> Iterator[list[str]]:
    """The words that run ctr against a containerd on the store, which runs in namespaces of its own for this block."""
    with tempfile.TemporaryDirectory(prefix="image-service-store-", dir="/run") as folder:
        socket, config = Path(folder) / "containerd.sock", Path(folder) / "containerd.toml"
        config.write_text(_config(store / "root", Path(folder)))
        # It ends with us, and what it mounts is seen by nobody else.
        command = ["setpriv", "--pdeathsig=TERM", "unshare", "--mount", "--net", "containerd", f"--config={config}"]
        with (store / "containerd.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        ctr = ["ctr", f"--address={socket}", f"--namespace={_NAMESPACE}"]
        try:
            _wait_until_it_answers(process, ctr, store)
            yield ctr
        finally:
            process.terminate()
            try:
                process.wait(timeout=_STOP_SECONDS)
            finally:
                process.kill()


def _config(root: Path, run: Path) -> str:
    return f"""version = 2
root = "{root}"
state = "{run}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{run}/containerd.sock"
"""


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", ctr: list[str], store: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while subprocess.run([*ctr, "version"], capture_output=True, timeout=_START_SECONDS, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"containerd does not start on the store; see {store / 'containerd.log'}")
        time.sleep(0.2)


def _link(store: Path, root: Path) -> None:
    """A root directory with databases of its own and links to what it shares with the store."""
    for database in store.glob(_DATABASES):
        own = root / database.relative_to(store)
        own.parent.mkdir(parents=True)
        shutil.copyfile(database, own)
    for shared in (*store.glob(_BLOBS), *store.glob(_LAYERS)):
        link = root / shared.relative_to(store)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(SEEN_AT / shared.relative_to(store))


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_IMPORT_SECONDS, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")
