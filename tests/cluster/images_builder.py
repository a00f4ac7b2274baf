"""The two programs that build a Dockerfile: docker where its daemon answers, else buildah, which needs no registry."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from . import packages
from .errors import ClusterError, Unavailable
from .images_base import PUBLIC_BASE, base_reference, make_base, package_access
from .progress import say

_BUILD_SECONDS = 2400
_SAVE_SECONDS = 600
_REPORT_SECONDS = 10
_PULL_SECONDS = 300
# How docker (classic and BuildKit) and buildah announce a step.
_STEP = re.compile(r"^(?:\[\d+/\d+\] )?(?:STEP|Step) [^:]*: ?(.*)|^#\d+ \[[^\]]*\] (.*)")


@dataclass(frozen=True)
class Recipe:
    """What to build: a folder with a Dockerfile, and which of its stages with which build arguments."""

    context: Path
    target: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)

    def options(self, base: str) -> list[str]:
        """The words that docker and buildah have in common."""
        arguments = {"BASE": base, **self.arguments}
        target = [f"--target={self.target}"] if self.target else []
        return [*target, *(f"--build-arg={name}={value}" for name, value in arguments.items())]


class Builder(Protocol):
    """Something that builds a Dockerfile."""

    def build(self, recipe: Recipe, reference: str, archive: Path, log: Path) -> None:
        """Build the image `reference` and write it to `archive` (docker-archive)."""


def find_builder(folder: Path) -> Builder:
    """What builds images on this machine. Raises Unavailable where nothing does."""
    if _docker_answers():
        return Docker()
    if os.geteuid() != 0:
        raise Unavailable("building container images needs a docker daemon that answers, or root for buildah")
    packages.ensure(packages.IMAGES)
    return Buildah(folder)


def _docker_answers() -> bool:
    """Whether there is a docker daemon, and a base for it to build on."""
    if not shutil.which("docker"):
        return False

    def succeeds(*words: str, seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            command = ["docker", *words]
            return not subprocess.run(command, capture_output=True, timeout=seconds, check=False).returncode
        return False

    if not succeeds("version", "--format={{.Server.Version}}", seconds=15):
        return False
    if succeeds("image", "inspect", PUBLIC_BASE, seconds=15):
        return True
    say(f"docker: pulling {PUBLIC_BASE}")
    return succeeds("pull", "--quiet", PUBLIC_BASE, seconds=_PULL_SECONDS)


class Docker:
    """An ordinary build by docker, on the public base image."""

    def build(self, recipe: Recipe, reference: str, archive: Path, log: Path) -> None:
        """As in Builder."""
        options = recipe.options(PUBLIC_BASE)
        environment = {"BUILDKIT_PROGRESS": "plain"}
        run(["docker", "build", *options, "--tag", reference, str(recipe.context)], log, _BUILD_SECONDS, environment)
        run(["docker", "save", "--output", str(archive), reference], log, _SAVE_SECONDS, environment)


class Buildah:
    """buildah with storage of its own, on a base made from Debian's packages. Layers are kept for the next build.

    One at a time on one folder: the caller holds a lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "buildah"
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, content in _SETTINGS.items():
            (self._folder / name).write_text(content)

    def build(self, recipe: Recipe, reference: str, archive: Path, log: Path) -> None:
        """As in Builder."""
        with self._session(log) as (buildah, access):
            self._ensure_base(buildah, log)
            options = [*recipe.options(base_reference()), "--layers", "--pull-never", "--isolation=chroot"]
            mounts = [f"--volume={source}:{place}" for source, place in package_access(access).items()]
            build = ["bud", *self._policy(), *options, "--network=host", *mounts, f"--tag={reference}"]
            run([*buildah, *build, str(recipe.context)], log, _BUILD_SECONDS, self._environment())
            push = ["push", "--quiet", *self._policy(), reference, f"docker-archive:{archive}:{reference}"]
            run([*buildah, *push], log, _SAVE_SECONDS, self._environment())

    @contextlib.contextmanager
    def _session(self, log: Path) -> Iterator[tuple[list[str], Path]]:
        """The words that run buildah, and an empty folder.

        Every call gets mount and process namespaces of its own: whatever is mounted or running in a build ends with
        it, also when it is killed. So nothing that the last session noted in its run directory may count.
        """
        session = Path("/run") / f"image-service-build-{hashlib.sha256(bytes(self._folder)).hexdigest()[:10]}"
        shutil.rmtree(session, ignore_errors=True)
        run_root, access = session / "run", session / "access"
        access.mkdir(parents=True)
        session.chmod(0o700)
        try:
            namespaces = ("--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
            storage = (f"--root={self._folder / 'storage'}", f"--runroot={run_root}", *self._driver())
            buildah = ["setpriv", "--pdeathsig=KILL", "unshare", *namespaces, "buildah", *storage]
            run([*buildah, "rm", "--all"], log, _SAVE_SECONDS, self._environment())
            yield buildah, access
        finally:
            shutil.rmtree(session, ignore_errors=True)

    def _ensure_base(self, buildah: list[str], log: Path) -> None:
        reference = base_reference()
        known = [*buildah, "inspect", "--type=image", reference]
        environment = {**os.environ, **self._environment()}
        if not subprocess.run(known, capture_output=True, env=environment, timeout=60, check=False).returncode:
            return
        archive = self._folder / f"{reference.partition(':')[2]}.tar"
        if not archive.exists():
            say("base: making a minimal Debian from its packages (once, half a minute)")
            make_base(archive, log.with_name("base.log"))
        pull = ["pull", "--quiet", *self._policy(), f"docker-archive:{archive}"]
        run([*buildah, *pull], log, _SAVE_SECONDS, self._environment())

    def _driver(self) -> list[str]:
        """How layers are stored: an overlay of the kernel's, where need be one in user space, at worst full copies."""
        command = ["stat", "-f", "-c", "%T", str(self._folder)]
        kind = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        if kind.stdout.strip() != "overlayfs":
            return ["--storage-driver=overlay"]
        fuse = shutil.which("fuse-overlayfs")
        if fuse and Path("/dev/fuse").exists():
            return ["--storage-driver=overlay", f"--storage-opt=overlay.mount_program={fuse}"]
        return ["--storage-driver=vfs"]

    def _policy(self) -> list[str]:
        return [f"--signature-policy={self._folder / 'policy.json'}"]

    def _environment(self) -> dict[str, str]:
        """Settings of this machine's own container tools do not count here."""
        return {
            "CONTAINERS_CONF": str(self._folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self._folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self._folder / "registries.conf"),
            "BUILDAH_ISOLATION": "chroot",
        }


_SETTINGS = {
    "containers.conf": "",
    "registries.conf": "unqualified-search-registries = []\n",
    "storage.conf": '[storage]\ndriver = "overlay"\n',
    "policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
}


def run(command: list[str], log: Path, seconds: float, environment: Mapping[str, str]) -> None:
    """Run a command that writes to `log`, telling its step now and then.

    Ends its whole process group after `seconds` or when we are interrupted. Raises ClusterError, with the end of the
    log where the command failed.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        _watch(process, log, seconds)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)
    if process.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise ClusterError(f"{log.stem}: a build step failed; the end of {log}:\n{end}")


def _watch(process: "subprocess.Popen[bytes]", log: Path, seconds: float) -> None:
    began = time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_REPORT_SECONDS)
            return
        elapsed = time.monotonic() - began
        if elapsed > seconds:
            raise ClusterError(f"{log.stem}: not done after {seconds:.0f} s; see {log}")
        say(f"{log.stem}: {elapsed:.0f} s, {_last_step(log)}")


def _last_step(log: Path) -> str:
    steps = (_STEP.match(line) for line in log.read_text(errors="replace").splitlines())
    words = next((step[1] or step[2] for step in reversed([*steps]) if step), "starting")
    return f"{words[:80]}..." if len(words) > 80 else words
