"""docker-archive tars, written without a container tool: what `ctr images import` and `docker load` read."""

import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
_EPOCH = "1970-01-01T00:00:00Z"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Layer:
    """One layer of an archive: the digest of its content (`sha256:...`) and its size in bytes."""

    digest: str
    size_bytes: int


def write_layer(layer: Path, files: Mapping[str, Path]) -> None:
    """A layer tar with these programs (path in the image -> file), the same bytes every time."""
    with tarfile.open(layer, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, file in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = file.stat().st_size, 0o755
            with file.open("rb") as content:
                tar.addfile(entry, content)


def write_archive(
    archive: Path, reference: str, layer: Path, *, entrypoint: Sequence[str] = (), user: str = ""
) -> None:
    """The image `reference` of one layer; `entrypoint` and `user` ("uid:gid") as in a Dockerfile."""
    diff_id = _sha256(layer)
    config: dict[str, Any] = {"WorkingDir": "/"}
    if entrypoint:
        config["Entrypoint"] = list(entrypoint)
    if user:
        config["User"] = user
    image = {
        "architecture": _ARCHITECTURE,
        "os": "linux",
        "created": _EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created": _EPOCH}],
    }
    description = json.dumps(image).encode()
    name = f"{hashlib.sha256(description).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{diff_id}.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, name, description)
        tar.add(layer, f"{diff_id}.tar")
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def read_reference(archive: Path) -> str:
    """The name of the image in an archive."""
    with tarfile.open(archive) as tar:
        reference: str = _read(tar, "manifest.json")[0]["RepoTags"][0]
        return reference


def read_layers(archive: Path) -> list[Layer]:
    """The layers of an archive, lowest first."""
    with tarfile.open(archive) as tar:
        entry = _read(tar, "manifest.json")[0]
        digests = _read(tar, entry["Config"])["rootfs"]["diff_ids"]
        names = [_target(tar, name) for name in entry["Layers"]]
        return [Layer(digest, tar.getmember(name).size) for digest, name in zip(digests, names, strict=True)]


def _target(tar: tarfile.TarFile, name: str) -> str:
    """Where the content is: some writers put a layer into the archive once and link to it."""
    member = tar.getmember(name)
    return os.path.normpath(Path(name).parent / member.linkname) if member.issym() else name


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _read(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.extractfile(name)
    if member is None:
        raise ValueError(f"the archive has no {name}")
    return json.load(member)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
