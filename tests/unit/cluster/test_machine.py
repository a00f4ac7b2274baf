"""What the machine has and lacks: packages, programs, providers."""

from pathlib import Path

import pytest
from tests.cluster import binaries, current, kind, packages, providers
from tests.cluster.errors import ClusterError, Unavailable


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH without any program."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _program(folder: Path, name: str) -> Path:
    file = folder / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_missing_packages_are_named_with_the_command_where_they_cannot_be_installed(
    empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "_PRESENCE", {"containerd": "no-such-containerd", "socat": "no-such-socat"})
    with pytest.raises(Unavailable) as refused:
        packages.ensure(["containerd", "socat"])
    assert "missing packages: containerd socat" in str(refused.value)
    assert "apt-get install --yes --no-install-recommends containerd socat" in str(refused.value)


def test_a_program_of_the_given_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etcd, combined = _program(tmp_path, "etcd"), _program(tmp_path, "kubernetes")
    monkeypatch.setenv("IMAGE_SERVICE_CLUSTER_BIN", str(tmp_path))
    binaries.program.cache_clear()
    try:
        assert binaries.program("etcd") == etcd
        assert binaries.program("kubelet") == combined
    finally:
        binaries.program.cache_clear()


def test_kind_is_refused_with_the_reason(empty_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="there is no docker on PATH"):
        kind.up(tmp_path / "state", nodes=2, keep=False)
    _program(empty_path, "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    _program(empty_path, "kind")
    _program(empty_path, "kubectl")
    monkeypatch.setenv("IMAGE_SERVICE_KIND_IMAGE", "kindest/node:v1.37.2")
    with pytest.raises(Unavailable, match="docker does not answer: Cannot connect"):
        kind.up(tmp_path / "state", nodes=2, keep=False)
    assert not (tmp_path / "state").exists()


def test_no_cluster_is_taken_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.delenv("IMAGE_SERVICE_KUBECONFIG", raising=False)
    monkeypatch.delenv("IMAGE_SERVICE_CLUSTER_PROVIDER", raising=False)
    assert providers.choose() != "current"
    monkeypatch.setenv("IMAGE_SERVICE_KUBECONFIG", str(kubeconfig))
    monkeypatch.delenv("IMAGE_SERVICE_CONTEXT", raising=False)
    assert providers.choose() == "current"
    with pytest.raises(ClusterError, match="both IMAGE_SERVICE_KUBECONFIG and IMAGE_SERVICE_CONTEXT"):
        current.open_named()


def test_an_unknown_provider_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_SERVICE_CLUSTER_PROVIDER", "minikube")
    with pytest.raises(ClusterError, match="known: local, kind, current"):
        providers.choose()


def test_the_versions_of_the_go_modules_are_those_of_the_table() -> None:
    modules = {"kubernetes": "k8s.io/kubernetes", "coredns": "github.com/coredns/coredns"}
    modules |= {"kwok": "sigs.k8s.io/kwok", "helm": "helm.sh/helm/v4"}
    folder = Path(binaries.__file__).parent / "go"
    for tool in binaries.TOOLS:
        assert f"{modules[tool.name]} v{tool.version}" in (folder / tool.name / "go.mod").read_text(), tool.name
