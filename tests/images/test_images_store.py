"""The store of images that nodes start on: filled once, read by nodes, as large as the archives that there are."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import images_store, packages
from tests.cluster.errors import Unavailable
from tests.cluster.images_archive import write_archive, write_layer

pytestmark = [pytest.mark.nodes]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of our own, with a store."""
    if os.geteuid() != 0:
        pytest.skip("layers are unpacked by root")
    try:
        packages.ensure(packages.NODES)
    except Unavailable as reason:
        pytest.skip(str(reason))
    monkeypatch.setenv("IMAGE_SERVICE_CACHE", str(tmp_path))
    images_store._folder.cache_clear()
    if not images_store.usable():
        pytest.skip("layers cannot be unpacked on an overlay")
    yield tmp_path
    images_store._folder.cache_clear()


def _archive(cache: Path, name: str) -> Path:
    program, layer = cache / name, cache / f"{name}-layer.tar"
    program.write_text(f"#!{name}")
    write_layer(layer, {name: program})
    archive = cache / "container-images" / f"{name}.tar"
    write_archive(archive, f"localhost/{name}:1", layer, entrypoint=[f"/{name}"])
    return archive


def _programs(cache: Path) -> set[str]:
    """The programs in the unpacked layers of the store."""
    return {file.name for file in cache.glob("container-images/store-*/root/*.overlayfs/snapshots/*/fs/*")}


def test_the_store_is_filled_once_and_a_node_finds_all_of_it(cache: Path) -> None:
    archives = [_archive(cache, "one"), _archive(cache, "two")]
    images_store.keep(archives)
    assert _programs(cache) == {"one", "two"}
    before = {file: file.stat().st_mtime_ns for file in cache.glob("container-images/store-*/images.json")}
    node = cache / "clusters" / "some" / "nodes" / "node-1"
    node.mkdir(parents=True)
    images_store.furnish(node, archives)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    links = [path for path in (node / "containerd").rglob("*") if path.is_symlink()]
    assert {path.name for path in links if path.parent.name == "sha256"}
    assert [path.name for path in links].count("fs") == 2
    for path in links:
        assert (node / "store" / path.readlink().relative_to(images_store.SEEN_AT)).exists(), path


def test_what_has_no_archive_any_more_leaves_the_store_once_no_node_is_on_it(cache: Path) -> None:
    archives = [_archive(cache, "one"), _archive(cache, "two")]
    node = cache / "clusters" / "some" / "nodes" / "node-1"
    node.mkdir(parents=True)
    images_store.furnish(node, archives)
    archives.pop(0).unlink()
    images_store.keep(archives)
    assert _programs(cache) == {"one", "two"}
    shutil.rmtree(cache / "clusters" / "some")
    images_store.keep(archives)
    assert _programs(cache) == {"two"}
