"""Every container image that a test cluster runs, made on this machine and handed over as a docker-archive tar.

No registry is needed, neither to build nor to run: `build` gives a file for `ctr images import`, `docker load` or
`kind load`. The tag of an image ends in a hash of what it is made from. So a node can never run a stale one, nothing
that is up to date is built again, and `reference` tells the name without building.
"""

import argparse
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import binaries, packages
from .errors import ClusterError
from .images_archive import read_layers, write_archive, write_layer
from .images_base import base_recipe
from .images_builder import Recipe, find_builder
from .locks import only_one
from .progress import say
from .state import cache_folder

_REPOSITORY = Path(__file__).resolve().parents[2]
_KEPT_PER_IMAGE = 3
_WAIT_SECONDS = 3600
_DOCKERFILE = ("Dockerfile", ".dockerignore")
_OPERATOR_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "requirements.lock", "containers/operator", "operator")
_PAUSE_SOURCE = "tests/images/pause/pause.c"
_PAUSE_COMMAND = ("gcc", "-Os", "-static", "-s", "-Wall", "-Werror")


@dataclass(frozen=True)
class Image:
    """One image: its name without and its tag before the hash, the files it is made from, how a Dockerfile makes it.

    Paths are relative to the repository. Without a `recipe` the image is one program, run by `user` ("uid:gid"; root
    where it is empty).
    """

    repository: str
    tag: str
    sources: tuple[str, ...]
    recipe: Recipe | None = None
    user: str = ""


def _glance(release: str) -> Image:
    recipe = Recipe(_REPOSITORY, "glance", {"GLANCE_RELEASE": release})
    return Image("glance", release, (*_DOCKERFILE, f"containers/glance/requirements-{release}.lock"), recipe)


def _of_the_tests(name: str) -> Image:
    folder = f"tests/images/{name}"
    return Image(name, "dev", (folder,), Recipe(_REPOSITORY / folder))


IMAGES: dict[str, Image] = {
    "pause": Image("pause", "1", (_PAUSE_SOURCE,), user="65535:65535"),
    "coredns": Image("coredns", "1.15.0", ("tests/cluster/go/coredns",)),
    "operator": Image(
        "image-service-operator", "dev", (*_DOCKERFILE, *_OPERATOR_SOURCES), Recipe(_REPOSITORY, "operator")
    ),
    **{f"glance-{release}": _glance(release) for release in ("2025.1", "2025.2", "2026.1", "2026.2")},
    "mariadb": _of_the_tests("mariadb"),
    "keystone": _of_the_tests("keystone"),
}


def reference(name: str) -> str:
    """What the image of that name in IMAGES is called in a pod: `localhost/<repository>:<tag>-<hash>`."""
    image = _image(name)
    return f"localhost/{image.repository}:{image.tag}-{_digest(name)}"


def archive(name: str) -> Path:
    """Where the docker-archive tar of an image is, or will be."""
    return _folder() / f"{name}-{_digest(name)}.tar"


def build(name: str) -> Path:
    """The docker-archive tar of an image, made first where it is missing.

    Raises Unavailable where this machine cannot make it (with the reason), ClusterError where making it fails.
    """
    image, wanted = _image(name), archive(name)
    if not wanted.exists():
        # One build at a time: they would share the processors, and the builder's storage.
        with only_one(build_lock(), name, seconds=_WAIT_SECONDS):
            if not wanted.exists():
                _make(name, image, wanted)
    # The time of the last use decides which old archives go.
    wanted.touch()
    _forget_old(name)
    return wanted


def built() -> list[Path]:
    """The archives of those images that are up to date."""
    return [archive(name) for name in IMAGES if archive(name).exists()]


def build_lock() -> Path:
    """The file that a run locks while it builds."""
    return _folder() / "lock"


def _make(name: str, image: Image, wanted: Path) -> None:
    began = time.monotonic()
    say(f"{name}: building {reference(name)}")
    unfinished = wanted.with_name(f".{wanted.name}")
    unfinished.unlink(missing_ok=True)
    log = _folder() / "log" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(b"")
    try:
        if image.recipe:
            find_builder(_folder()).build(image.recipe, reference(name), unfinished, log)
        else:
            _program(name, image.user, unfinished)
        unfinished.rename(wanted)
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"{name}: {wanted.stat().st_size / 1e6:.0f} MB after {time.monotonic() - began:.0f} s")


def _program(name: str, user: str, unfinished: Path) -> None:
    """An image that holds one static program and nothing else."""
    with tempfile.TemporaryDirectory(dir=unfinished.parent) as scratch:
        program, layer = Path(scratch) / name, Path(scratch) / "layer.tar"
        if name == "pause":
            packages.ensure(packages.COMPILER)
            command = [*_PAUSE_COMMAND, "-o", str(program), str(_REPOSITORY / _PAUSE_SOURCE)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode:
                raise ClusterError(f"{' '.join(command)} failed: {done.stderr}")
        else:
            shutil.copyfile(binaries.program(name), program)
        write_layer(layer, {name: program})
        write_archive(unfinished, reference(name), layer, entrypoint=[f"/{name}"], user=user)


def _image(name: str) -> Image:
    try:
        return IMAGES[name]
    except KeyError:
        raise ClusterError(f"there is no image {name}; images: {', '.join(IMAGES)}") from None


def _folder() -> Path:
    return cache_folder() / "container-images"


@functools.cache
def _digest(name: str) -> str:
    """Twelve digits that stand for all that the image is made from. Counted once: a run sees one state of the files."""
    image = _image(name)
    digest = hashlib.sha256()
    recipe = image.recipe
    how = (recipe.target, sorted(recipe.arguments.items()), base_recipe()) if recipe else (image.user, _PAUSE_COMMAND)
    digest.update(repr((image.repository, image.tag, how)).encode())
    for file in _files(image.sources):
        digest.update(f"\0{file.relative_to(_REPOSITORY)}\0{os.access(file, os.X_OK)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _files(sources: tuple[str, ...]) -> Iterator[Path]:
    for source in sources:
        path = _REPOSITORY / source
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.is_file() and file.parent.name != "__pycache__")


def _forget_old(name: str) -> None:
    """Remove the archives of an image that were not used for longest."""
    pattern = f"{name}-{'[0-9a-f]' * 12}.tar"
    newest_first = sorted(_folder().glob(pattern), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in newest_first[_KEPT_PER_IMAGE:]:
        old.unlink(missing_ok=True)


def _list() -> None:
    seen: set[str] = set()
    for name in IMAGES:
        file = archive(name)
        if not file.exists():
            print(f"{reference(name):62} not built")
            continue
        layers = read_layers(file)
        own = sum(layer.size_bytes for layer in layers if layer.digest not in seen)
        seen.update(layer.digest for layer in layers)
        size = file.stat().st_size
        print(f"{reference(name):62} {size / 1e6:5.0f} MB, {own / 1e6:5.0f} MB in layers that none above has  {file}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(words: list[str]) -> int:
    """`build [NAME...]` or `list`; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.images", description="Container images for the tests."
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    building = commands.add_parser("build", help="make the images (default: all) and print where they are")
    building.add_argument("names", nargs="*", metavar="NAME", help=", ".join(IMAGES))
    commands.add_parser("list", help="show names, sizes and places")
    options = parser.parse_args(words)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.command == "list":
            _list()
        else:
            for name in options.names or IMAGES:
                print(build(name), flush=True)
    except (ClusterError, subprocess.TimeoutExpired) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the layers that are done stay for the next build")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
