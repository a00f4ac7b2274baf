"""What is in the images that clusters run: nothing of the machine that built them, little of anything else."""

import json
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.cluster import images
from tests.cluster.errors import Unavailable
from tests.cluster.images_archive import Layer, read_layers, read_reference

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(3600)]

BUILT = ("operator", "glance-2026.1", "mariadb", "keystone")
MOST_BYTES = {"operator": 200e6, "glance-2026.1": 450e6, "mariadb": 250e6, "keystone": 300e6}


@cache
def _built(name: str) -> Path:
    try:
        return images.build(name)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=BUILT)
def image(request: pytest.FixtureRequest) -> str:
    _built(request.param)
    return str(request.param)


def _layers(name: str) -> list[Layer]:
    return read_layers(_built(name))


def _config(name: str) -> dict[str, object]:
    with tarfile.open(_built(name)) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))
        return json.load(archive.extractfile(manifest[0]["Config"]))["config"]


def _files(name: str) -> Iterator[tuple[str, tarfile.TarInfo, bytes]]:
    """Every file of the image below /etc, /root, /run and /var, with its content."""
    with tarfile.open(_built(name)) as archive:
        for layer in json.load(archive.extractfile("manifest.json"))[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as content:
                for entry in content:
                    path = entry.name.removeprefix("./")
                    if entry.isfile() and path.split("/")[0] in {"etc", "root", "run", "var"}:
                        yield path, entry, content.extractfile(entry).read()


def test_the_archive_holds_the_image_under_its_reference(image: str) -> None:
    assert read_reference(_built(image)) == images.reference(image)


def test_the_image_is_small(image: str) -> None:
    assert sum(layer.size_bytes for layer in _layers(image)) < MOST_BYTES[image]


def test_the_image_runs_as_somebody_else_than_root(image: str) -> None:
    user = str(_config(image)["User"])
    assert user.split(":", maxsplit=1)[0].isdigit()
    assert user.split(":", maxsplit=1)[0] != "0"


def test_images_with_python_have_debian_and_python_in_common() -> None:
    lowest = {tuple(layer.digest for layer in _layers(name)[:2]) for name in ("operator", "glance-2026.1", "keystone")}
    assert len(lowest) == 1


def test_every_image_has_debian_in_common() -> None:
    assert len({_layers(name)[0].digest for name in BUILT}) == 1


def test_the_image_says_nothing_of_the_machine_that_built_it(image: str) -> None:
    own = {"etc/pip.conf", "etc/apt/apt.conf.d/99-host", "root/.config/pip/pip.conf", "root/certificates.crt"}
    found = {path: (entry, content) for path, entry, content in _files(image)}
    assert own.isdisjoint(found)
    sources = b"".join(content for path, (_, content) in found.items() if path.startswith("etc/apt/sources.list"))
    hosts = {line.split(b"//")[1].split(b"/")[0] for line in sources.splitlines() if line.startswith(b"URIs:")}
    assert hosts == {b"deb.debian.org"}


def test_no_package_lists_and_no_packages_are_left_in_the_image(image: str) -> None:
    places = ("var/lib/apt/lists/", "var/cache/apt/archives/")
    left = [path for path, entry, _ in _files(image) if path.startswith(places) and entry.size]
    assert left == []
