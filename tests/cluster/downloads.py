"""Official release files, taken only when their published checksum agrees."""

import hashlib
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError
from .progress import say

_CONNECT_SECONDS = 5
_unreachable: set[str] = set()  # hosts that did not answer; not asked again in this run


@dataclass(frozen=True)
class Archive:
    """A file to fetch, the file that holds its SHA-256, and what to take from it.

    `members` are pairs (name in the tar archive, name of the program); a file that is no tar archive is itself the
    program, and the first name is not used.
    """

    url: str
    checksum_url: str
    members: tuple[tuple[str, str], ...]


def fetch(name: str, archives: tuple[Archive, ...], into: Path) -> bool:
    """Fetch all of `archives` into a folder; False, with one line said, where they cannot be reached.

    Raises ClusterError when a file came that is not what its checksum says.
    """
    host = urllib.parse.urlsplit(archives[0].url).netloc
    try:
        for archive in archives:
            host = urllib.parse.urlsplit(archive.url).netloc
            if host in _unreachable:
                return False
            _fetch(archive, into)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        _unreachable.add(host)
        say(f"{name}: no download from {host} ({getattr(error, 'reason', error)})")
        return False
    return True


def _fetch(archive: Archive, into: Path) -> None:
    file_name = archive.url.rsplit("/", 1)[1]
    with urllib.request.urlopen(archive.checksum_url, timeout=_CONNECT_SECONDS) as answer:
        wanted = _checksum(answer.read(1 << 20).decode(), file_name)
    say(f"downloading {archive.url}")
    with tempfile.TemporaryDirectory(dir=into.parent) as scratch:
        file = Path(scratch) / file_name
        with urllib.request.urlopen(archive.url, timeout=_CONNECT_SECONDS) as answer, file.open("wb") as output:
            shutil.copyfileobj(answer, output, 1 << 20)
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != wanted:
            raise ClusterError(f"{archive.url} has the SHA-256 {found}, but {archive.checksum_url} says {wanted}")
        _take(file, archive, into)


def _checksum(text: str, file_name: str) -> str:
    """Read a bare checksum or lines of sha256sum."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 1 or (len(words) == 2 and words[1].lstrip("*").rsplit("/", 1)[-1] == file_name):
            return words[0].lower()
    raise ClusterError(f"no checksum of {file_name} is published")


def _take(file: Path, archive: Archive, into: Path) -> None:
    if not file.name.endswith((".tgz", ".tar.gz")):
        programs = [program for _, program in archive.members]
        shutil.copyfile(file, into / programs[0])
    else:
        with tarfile.open(file) as tar:
            for member, program in archive.members:
                content = tar.extractfile(member)
                if content is None:
                    raise ClusterError(f"{archive.url} holds no file {member}")
                with content, (into / program).open("wb") as output:
                    shutil.copyfileobj(content, output, 1 << 20)
    for _, program in archive.members:
        (into / program).chmod(0o755)
