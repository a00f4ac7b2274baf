"""The command line: `image-service-operator run | crds | render | cache`."""

import argparse
import asyncio
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

OK, FAILED = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (default: those of the process) and return its exit status."""
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="image-service-operator", description="Kubernetes operator for OpenStack Glance")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run",
        help="run the operator",
        description="Run the operator. Everything else is set by IMAGE_SERVICE_OPERATOR_* variables.",
    )
    run.add_argument("--kubeconfig", metavar="FILE", help="default: $KUBECONFIG, else the service account of the pod")
    run.add_argument("--context", help="context of the kubeconfig (default: its current one)")
    run.set_defaults(command=_run)

    crds = commands.add_parser("crds", help="write the CustomResourceDefinitions")
    crds.add_argument("directory", metavar="DIR", type=Path)
    crds.add_argument("--check", action="store_true", help="write nothing; fail where a file is not as it should be")
    crds.set_defaults(command=_crds)

    render = commands.add_parser(
        "render",
        help="print what the operator would make of some objects",
        description="Read ImageServices, their ImageStores and Secrets from files, and print the objects that the "
        "operator would make of them. No cluster is needed; the content of Secrets is not printed.",
    )
    render.add_argument("-f", "--file", metavar="FILE", type=Path, action="append", required=True, dest="files")
    render.set_defaults(command=_render)

    cache = commands.add_parser("cache", help="look into the caches of nodes, and act on them", add_help=False)
    cache.add_argument("rest", nargs=argparse.REMAINDER)
    cache.set_defaults(command=_cache)
    return top


def _run(options: argparse.Namespace) -> int:
    gc.disable()  # What is imported stays: to look for garbage in it takes a tenth of the start.
    from imageservice.glance.fleet import Fleet  # noqa: PLC0415
    from imageservice.glance.sites import SiteMonitors  # noqa: PLC0415 - the other commands do without
    from imageservice.reconcile.registry import reconcilers  # noqa: PLC0415
    from imageservice.runtime import logs  # noqa: PLC0415
    from imageservice.runtime.connection import Connection, NoCluster, keep_tls_buffers_small  # noqa: PLC0415
    from imageservice.runtime.process import Process  # noqa: PLC0415
    from imageservice.runtime.settings import BadSettings, Settings  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    keep_tls_buffers_small()

    async def live(settings: Settings) -> int:
        connection = await Connection.open(options.kubeconfig, options.context)
        async with SiteMonitors() as monitors, Fleet() as fleet:
            return await Process(settings, connection, reconcilers(monitors, fleet)).run()

    try:
        settings = Settings.from_environment()
        logs.configure(settings.log_level)
        return asyncio.run(live(settings))
    except (BadSettings, NoCluster, OSError) as error:
        return _complain(str(error))


def _cache(options: argparse.Namespace) -> int:
    from imageservice.cache_commands import NotDone, parser, run  # noqa: PLC0415 - the other commands do without
    from imageservice.runtime.connection import NoCluster  # noqa: PLC0415

    try:
        asyncio.run(run(parser().parse_args(options.rest)))
    except (NotDone, NoCluster, OSError) as error:
        return _complain(str(error))
    return OK


def _crds(options: argparse.Namespace) -> int:
    """Make the files of our group in a directory those that the models say; files of others are left alone."""
    from imageservice.api.v1alpha1 import GROUP  # noqa: PLC0415
    from imageservice.crdgen import generate  # noqa: PLC0415

    directory: Path = options.directory
    wanted = generate()
    there = {path.name: path.read_text() for path in directory.glob(f"{GROUP}_*.yaml")}
    wrong = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if options.check:
        return _complain(f"Not as generated, in {directory}: {', '.join(wrong)}") if wrong else OK
    directory.mkdir(parents=True, exist_ok=True)
    for name in wrong:
        if name in wanted:
            (directory / name).write_text(wanted[name])
        else:
            (directory / name).unlink()
    return OK


def _render(options: argparse.Namespace) -> int:
    import yaml  # noqa: PLC0415

    from imageservice.dry_run import NotRenderable, render  # noqa: PLC0415
    from imageservice.runtime.settings import BadSettings, Settings  # noqa: PLC0415

    try:
        manifests = render(options.files, Settings.from_environment())
    except (NotRenderable, BadSettings, OSError) as error:
        return _complain(str(error))
    except yaml.MarkedYAMLError as error:
        return _complain(f"Not YAML: {error.problem} {error.problem_mark}")
    yaml.safe_dump_all(manifests, sys.stdout, sort_keys=False, explicit_start=True)
    return OK


def _complain(text: str) -> int:
    sys.stderr.write(f"image-service-operator: {text}\n")
    return FAILED
