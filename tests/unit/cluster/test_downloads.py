"""Release files: taken when their checksum agrees, and not otherwise."""

import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.cluster import downloads
from tests.cluster.downloads import Archive
from tests.cluster.errors import ClusterError


@pytest.fixture
def release(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which a web server serves it."""
    folder = tmp_path / "release"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _into(tmp_path: Path) -> Path:
    into = tmp_path / "into"
    into.mkdir()
    return into


def test_a_program_with_the_right_checksum_is_taken_and_can_be_run(release: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = release
    content = b"#!/bin/sh\necho kubelet\n"
    (folder / "kubelet").write_bytes(content)
    (folder / "kubelet.sha256").write_text(hashlib.sha256(content).hexdigest())
    into = _into(tmp_path)
    archive = Archive(f"{url}/kubelet", f"{url}/kubelet.sha256", (("kubelet", "kubelet"),))
    assert downloads.fetch("kubernetes", (archive,), into)
    assert (into / "kubelet").read_bytes() == content
    assert (into / "kubelet").stat().st_mode & 0o111


def test_a_program_is_taken_out_of_an_archive_whose_checksum_is_one_of_many(
    release: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = release
    with tarfile.open(folder / "etcd-linux.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("etcd-linux/etcd")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"etcd"))
    checksum = hashlib.sha256((folder / "etcd-linux.tar.gz").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  etcd-other.tar.gz\n{checksum}  etcd-linux.tar.gz\n")
    into = _into(tmp_path)
    archive = Archive(f"{url}/etcd-linux.tar.gz", f"{url}/SHA256SUMS", (("etcd-linux/etcd", "etcd"),))
    assert downloads.fetch("etcd", (archive,), into)
    assert (into / "etcd").read_bytes() == b"etcd"


def test_a_file_that_is_not_what_its_checksum_says_is_refused(release: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = release
    (folder / "kubelet").write_bytes(b"something else")
    (folder / "kubelet.sha256").write_text("0" * 64)
    into = _into(tmp_path)
    archive = Archive(f"{url}/kubelet", f"{url}/kubelet.sha256", (("kubelet", "kubelet"),))
    with pytest.raises(ClusterError, match="SHA-256"):
        downloads.fetch("kubernetes", (archive,), into)
    assert list(into.iterdir()) == []


def test_a_host_that_does_not_answer_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        archive = Archive(f"{url}/kubelet", f"{url}/kubelet.sha256", (("kubelet", "kubelet"),))
        assert not downloads.fetch("kubernetes", (archive,), _into(tmp_path))
    said = capsys.readouterr().err
    assert "kubernetes: no download from 127.0.0.1:" in said
    assert said.count("\n") == 1
