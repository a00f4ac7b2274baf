"""Write what is made from `crds/` and the chart: the chart's own copies of the CRDs, and `manifests/install.yaml`.

- `python -m tools.manifests crds`: crds/ -> charts/image-service-operator/templates/crds/
- `python -m tools.manifests install`: the chart with fixed values -> manifests/install.yaml
- `python -m tools.manifests --check`: write nothing, tell what is out of date
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "image-service-operator"
INSTALL = ROOT / "manifests" / "install.yaml"
NAMESPACE = "image-service-system"
RELEASE = "image-service-operator"

CRD_NOTE = "# Generated from crds/ by `make crds`. Do not edit.\n"
CRD_METADATA = """\
  labels:
    {{- include "image-service-operator.labels" . | nindent 4 }}
  {{- with include "image-service-operator.crdAnnotations" . }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
"""
INSTALL_NOTE = f"""\
# Generated from charts/image-service-operator by `make manifests`. Do not edit.
#
#   kubectl apply --server-side -f manifests/install.yaml
---
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/part-of: image-service
    pod-security.kubernetes.io/enforce: restricted
"""
INSTALL_VALUES = {"crds.keep": "false"}
"""`keep` is a word to Helm only."""
HELM_LABELS = ("helm.sh/chart:", "app.kubernetes.io/managed-by: Helm")
"""Labels that would be untrue of objects that Helm does not look after."""


def crd_template(manifest: str) -> str:
    """Return the chart's template of one CRD: the same text, switchable, with labels and annotations of the chart."""
    body = "".join(line for line in manifest.splitlines(keepends=True) if not line.startswith("#"))
    if "{{" in body:
        raise ValueError("a CRD with {{ in it would be taken for a template")
    head, mark, rest = body.partition("\nspec:\n")
    if not mark or not head.splitlines()[-1].startswith("  name: "):
        raise ValueError("the metadata of a CRD is expected to end with its name")
    return f"{{{{- if .Values.crds.enabled }}}}\n{CRD_NOTE}{head}\n{CRD_METADATA}{mark[1:]}{rest}{{{{- end }}}}\n"


def crd_templates() -> dict[Path, str]:
    """Return the content of every file of the chart's `templates/crds`."""
    sources = sorted((ROOT / "crds").glob("*.yaml"))
    return {CHART / "templates" / "crds" / source.name: crd_template(source.read_text()) for source in sources}


def install_manifest() -> dict[Path, str]:
    """Return the content of `manifests/install.yaml`."""
    values = [word for key, value in INSTALL_VALUES.items() for word in ("--set", f"{key}={value}")]
    command = [str(helm()), "template", RELEASE, str(CHART), "--namespace", NAMESPACE, *values]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    kept = [line for line in rendered.splitlines() if not line.strip().startswith(HELM_LABELS)]
    return {INSTALL: INSTALL_NOTE + "\n".join(kept) + "\n"}


def helm() -> Path:
    """Return the Helm to use: one that is installed, else the one of the test cluster (fetched or built once)."""
    found = shutil.which("helm")
    if found:
        return Path(found)
    from tests.cluster.binaries import program  # noqa: PLC0415 - only where it is needed

    return program("helm")


def outdated(files: dict[Path, str], folder: Path | None = None) -> list[Path]:
    """Return the files whose content on disk is another, and those of `folder` that should not be there."""
    extra = [path for path in folder.glob("*") if path not in files] if folder else []
    return [path for path, text in files.items() if not path.exists() or path.read_text() != text] + extra


def _write(make: Callable[[], dict[Path, str]], folder: Path | None, *, check: bool) -> bool:
    """Bring the files up to date, or only tell which are not; return whether they are now."""
    files = make()
    old = outdated(files, folder)
    for path in old:
        sys.stderr.write(f"{path.relative_to(ROOT)}: {'out of date, run `make manifests`' if check else 'written'}\n")
        if not check and path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        elif not check:
            path.unlink()
    return not (check and old)


STEPS = {
    "crds": (crd_templates, CHART / "templates" / "crds"),
    "install": (install_manifest, None),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the steps that are named; all of them where none is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help="crds, install (default: both)")
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 where something is out of date")
    options = parser.parse_args(arguments)
    unknown = set(options.steps) - set(STEPS)
    if unknown:
        parser.error(f"unknown step: {', '.join(sorted(unknown))}")
    done = [_write(*STEPS[step], check=options.check) for step in options.steps or STEPS]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
