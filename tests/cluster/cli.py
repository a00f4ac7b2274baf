"""The command line of the test cluster."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from . import providers, state
from .cluster import Cluster
from .errors import ClusterError
from .progress import say

_EPILOG = """environment:
  IMAGE_SERVICE_CLUSTER_PROVIDER  local, kind or current (default: what fits this machine)
  IMAGE_SERVICE_CLUSTER_STATE     where the cluster keeps its state (as --state)
  IMAGE_SERVICE_CLUSTER_BIN       a folder with kube-apiserver, kubelet, etcd, ... to use instead of the cached ones
  IMAGE_SERVICE_CACHE             binaries, images, state (default ~/.cache/image-service-operator)
  IMAGE_SERVICE_KIND_IMAGE        kind's node image
  IMAGE_SERVICE_KUBECONFIG, IMAGE_SERVICE_CONTEXT   an existing cluster to use; both must be given
"""

_FOREIGN = ("exec", "node-exec", "kubectl")


def _up(options: argparse.Namespace) -> int:
    nodes = 0 if options.control_plane_only else options.nodes
    cluster = providers.up(options.state, nodes=nodes, fake_nodes=options.kwok, keep=True)
    say(f"up: export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _images(options: argparse.Namespace) -> int:
    providers.find(options.state).import_images(*options.archives)
    return 0


def _node_off(options: argparse.Namespace) -> int:
    providers.find(options.state).node_off(options.name)
    return 0


def _node_on(options: argparse.Namespace) -> int:
    providers.find(options.state).node_on(options.name)
    return 0


def _become(cluster: Cluster, argv: list[str]) -> int:
    command = cluster.command(argv)
    sys.stdout.flush()
    os.execvpe(command[0], command, cluster.environment)  # never returns


def _exec(options: argparse.Namespace) -> int:
    return _become(providers.find(options.state), options.words or ["bash"])


def _node_exec(options: argparse.Namespace) -> int:
    name, *command = options.words
    argv = providers.find(options.state).node_command(name, command or ["bash"])
    os.execvp(argv[0], argv)  # never returns


def _kubectl(options: argparse.Namespace) -> int:
    return _become(providers.find(options.state), ["kubectl", *options.words])


def _env(options: argparse.Namespace) -> int:
    cluster = providers.find(options.state)
    for name in ("KUBECONFIG", "PATH"):
        print(f"export {name}={shlex.quote(cluster.environment[name])}")
    return 0


def _down(options: argparse.Namespace) -> int:
    providers.down(options.state)
    return 0


def _sweep(_: argparse.Namespace) -> int:
    for swept in state.sweep():
        say(f"removed what a dead run left: {swept}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description="A real Kubernetes for tests and for the demo.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--state", type=Path, default=providers.default_state(), metavar="DIR")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("--state", type=Path, default=argparse.SUPPRESS, metavar="DIR")
        return added

    up = command("up", _up, "bring the cluster up, or the rest of it; what runs already is left alone")
    up.add_argument("--nodes", type=int, default=2, metavar="N", help="real nodes (default 2)")
    up.add_argument("--control-plane-only", action="store_true", help="on the loopback address, no real nodes, no root")
    up.add_argument("--kwok", type=int, default=0, metavar="N", help="fake nodes besides")
    images = command("images", _images, "load docker-archive tars on every node")
    images.add_argument("archives", nargs="+", type=Path, metavar="TAR")
    command("node-off", _node_off, "cut the power of a node").add_argument("name")
    command("node-on", _node_on, "power a node on again").add_argument("name")
    command("exec", _exec, "run a command where pods and Services can be reached (default: bash)")
    command("node-exec", _node_exec, "run a command on a node: NAME COMMAND...")
    command("kubectl", _kubectl, "run kubectl against the cluster")
    command("env", _env, "print the variables to set in a shell")
    command("down", _down, "take everything away")
    command("sweep", _sweep, "take away the clusters whose owners died")
    return parser


def _parse(argv: list[str]) -> argparse.Namespace:
    # What follows these commands belongs to another program, options too.
    end = next((index + 1 for index, word in enumerate(argv) if word in _FOREIGN), len(argv))
    options = _parser().parse_args(argv[:end])
    options.words = argv[end:]
    return options


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run one command; the exit status."""
    options = _parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status: int = options.run(options)
    except (ClusterError, subprocess.TimeoutExpired) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    return status
