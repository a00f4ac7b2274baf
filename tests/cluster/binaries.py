"""Where the programs of a cluster come from, first found first taken:

1. the folder named by IMAGE_SERVICE_CLUSTER_BIN;
2. the cache, `<cache>/bin/<tool>-<version>/`, filled once by
3. the official release with its checksum, or
4. a build from the Go modules in `go/` (pinned by their go.sum), where the releases cannot be reached or publish
   no checksum.
"""

import contextlib
import fcntl
import functools
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import downloads
from .downloads import Archive
from .errors import ClusterError, Unavailable
from .progress import say
from .state import cache_folder

_MODULES = Path(__file__).parent / "go"
_KUBERNETES = "1.37.2"
_ETCD = "3.7.0"  # the version that Kubernetes 1.37 itself pins
_COREDNS = "1.15.0"
_KWOK = "0.8.0"
_HELM = "4.3.1"
_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _kubernetes_flags() -> str:
    """What the release build stamps into its binaries; without it every component says v0.0.0-master."""
    major, minor, _ = _KUBERNETES.split(".")
    values = {
        "gitVersion": f"v{_KUBERNETES}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{key}={value}" for package in packages for key, value in values.items())


@dataclass(frozen=True)
class Tool:
    """One entry of the cache.

    `programs` are the names it is called by. A build makes one file, named like the tool, that behaves as any of
    them by the name it is called; a release brings a file for each. `minutes` is what a build takes on 2 cores;
    `flags` are for the linker; `package` is what is built in the module `go/<name>`.
    """

    name: str
    version: str
    programs: tuple[str, ...]
    minutes: int
    flags: str = ""
    package: str = "."
    release: tuple[Archive, ...] = ()

    @property
    def folder(self) -> Path:
        """Its place in the cache."""
        return cache_folder() / "bin" / f"{self.name}-{self.version}"

    def path(self, program: str, folder: Path | None = None) -> Path | None:
        """The file to run for one of its programs, in the cache or in `folder`; None where there is none."""
        place = folder or self.folder
        return next((file for file in (place / program, place / self.name) if file.exists()), None)


_KUBERNETES_PROGRAMS = (
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
)
_DL = f"https://dl.k8s.io/v{_KUBERNETES}/bin/linux/{_ARCHITECTURE}"
_GITHUB = "https://github.com"
_ETCD_RELEASE = f"{_GITHUB}/etcd-io/etcd/releases/download/v{_ETCD}"
_ETCD_NAME = f"etcd-v{_ETCD}-linux-{_ARCHITECTURE}"
_COREDNS_RELEASE = f"{_GITHUB}/coredns/coredns/releases/download/v{_COREDNS}"
_COREDNS_NAME = f"coredns_{_COREDNS}_linux_{_ARCHITECTURE}.tgz"
_HELM_NAME = f"helm-v{_HELM}-linux-{_ARCHITECTURE}.tar.gz"

TOOLS = (
    Tool(
        "kubernetes",
        _KUBERNETES,
        (*_KUBERNETES_PROGRAMS, "etcd"),
        minutes=10,
        flags=_kubernetes_flags(),
        release=(
            *(Archive(f"{_DL}/{name}", f"{_DL}/{name}.sha256", ((name, name),)) for name in _KUBERNETES_PROGRAMS),
            Archive(
                f"{_ETCD_RELEASE}/{_ETCD_NAME}.tar.gz",
                f"{_ETCD_RELEASE}/SHA256SUMS",
                ((f"{_ETCD_NAME}/etcd", "etcd"),),
            ),
        ),
    ),
    Tool(
        "coredns",
        _COREDNS,
        ("coredns",),
        minutes=2,
        release=(
            Archive(
                f"{_COREDNS_RELEASE}/{_COREDNS_NAME}",
                f"{_COREDNS_RELEASE}/{_COREDNS_NAME}.sha256",
                (("coredns", "coredns"),),
            ),
        ),
    ),
    # No release: kwok publishes no checksums.
    Tool("kwok", _KWOK, ("kwok",), minutes=2, package="sigs.k8s.io/kwok/cmd/kwok"),
    Tool(
        "helm",
        _HELM,
        ("helm",),
        minutes=2,
        flags=f"-X helm.sh/helm/v4/internal/version.version=v{_HELM}",
        package="helm.sh/helm/v4/cmd/helm",
        release=(
            Archive(
                f"https://get.helm.sh/{_HELM_NAME}",
                f"https://get.helm.sh/{_HELM_NAME}.sha256sum",
                ((f"linux-{_ARCHITECTURE}/helm", "helm"),),
            ),
        ),
    ),
)


@functools.cache
def program(name: str) -> Path:
    """The file to run for a program, fetched or built first where that is needed. Call it by `name` (argv[0])."""
    tool = next(tool for tool in TOOLS if name in tool.programs)
    given = os.environ.get("IMAGE_SERVICE_CLUSTER_BIN")
    if given and (file := tool.path(name, Path(given))):
        return file.resolve()
    if tool.path(name) is None:
        _fill_cache(tool)
    path = tool.path(name)
    if path is None:
        raise ClusterError(f"{tool.folder} lacks {name}: remove that folder and start again")
    return path.resolve()


def link(folder: Path, *names: str) -> None:
    """Make `folder` one in which each program is found by its name, for PATH."""
    for name in names:
        target, place = program(name), folder / name
        if not place.is_symlink() or place.readlink() != target:
            place.unlink(missing_ok=True)
            place.symlink_to(target)


def kwok_stages() -> Path:
    """The file of Stage documents by which kwok makes its nodes and pods Ready.

    The plain binary has none and refuses to start; its Go module brings them.
    """
    tool = next(tool for tool in TOOLS if tool.name == "kwok")
    stages = tool.folder / "stages.yaml"
    if not stages.exists():
        source = _go("list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok", module="kwok").strip()
        if not source:
            _go("mod", "download", "sigs.k8s.io/kwok", module="kwok")
            source = _go("list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok", module="kwok").strip()
        folders = [Path(source) / "kustomize" / "stage" / name for name in _KWOK_STAGES]
        files = [file for folder in folders for file in sorted(folder.glob("*.yaml"))]
        documents = [file.read_text() for file in files if file.name != "kustomization.yaml"]
        beside = stages.with_name(f".stages.{os.getpid()}")
        beside.write_text("\n---\n".join(documents))
        beside.rename(stages)
    return stages


_KWOK_STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")


def _fill_cache(tool: Tool) -> None:
    tool.folder.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(tool):
        if all(tool.path(name) for name in tool.programs):
            return
        prefix = f".{tool.folder.name}.new-"
        for left in tool.folder.parent.glob(f"{prefix}*"):  # by a run that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=tool.folder.parent, prefix=prefix) as scratch:
            complete = Path(scratch) / "complete"
            complete.mkdir()
            if not (tool.release and downloads.fetch(tool.folder.name, tool.release, complete)):
                _build(tool, complete)
            if tool.folder.exists():
                shutil.rmtree(tool.folder)
            complete.rename(tool.folder)


@contextlib.contextmanager
def _only_one(tool: Tool) -> Iterator[None]:
    """Two runs never build the same thing twice: the second waits for what the first makes."""
    with (tool.folder.parent / f".{tool.folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{tool.folder.name}: another run is making it; waiting for that one")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _go_program() -> str:
    found = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not found:
        raise Unavailable("no cluster binaries, their releases cannot be reached, and there is no `go` to build them")
    return found


def _go(*arguments: str, module: str) -> str:
    command = [_go_program(), *arguments]
    folder = _MODULES / module
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    if result.returncode:
        raise ClusterError(f"{' '.join(command)} failed: {result.stderr.strip()}")
    return result.stdout


def _build(tool: Tool, into: Path) -> None:
    """Build a tool. What an interrupted build compiled stays in Go's own cache, so that the next one goes on there."""
    log = tool.folder.parent / f"{tool.folder.name}.log"
    say(f"{tool.folder.name}: building from source, once, about {tool.minutes} minutes on 2 cores (log: {log})")
    flags = f"-s -w {tool.flags}".strip()
    command = [_go_program(), "build", "-v", "-trimpath", "-ldflags", flags, "-o", str(into / tool.name), tool.package]
    with log.open("w") as output:
        build = subprocess.Popen(
            command,
            cwd=_MODULES / tool.name,
            env={**os.environ, "CGO_ENABLED": "0"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _watch(build, tool, log)
        finally:
            # Its compilers too: they would go on without it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(build.pid, signal.SIGKILL)
            build.wait(timeout=30)
    if build.returncode:
        raise ClusterError(f"building {tool.folder.name} failed; the last lines of {log}:\n{_tail(log)}")


def _watch(build: subprocess.Popen[bytes], tool: Tool, log: Path) -> None:
    began = time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            build.wait(timeout=10)
            return
        compiled = len(log.read_text().splitlines())
        say(f"{tool.folder.name}: {compiled} packages compiled in {time.monotonic() - began:.0f} s")
        if time.monotonic() - began > 3600:
            raise ClusterError(f"building {tool.folder.name} takes more than an hour; see {log}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
