"""`python -m bench.caches`: measure how fast and how frugal the caches of nodes are filled."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.cluster.errors import ClusterError
from tests.cluster.progress import say
from tests.glance_environments import RELEASES

from bench import results as results_of
from bench import table
from bench.__main__ import machine
from bench.caches import fetching, filling
from bench.caches.place import place
from bench.results import Results

FIGURES = Path(__file__).with_name("figures.yaml")
PHASES = ("fetch", "fill")


def main() -> int:
    """Measure, show and write; 1 where something could not be measured."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    found = Results("image-service-operator", f"The caches of nodes, with Glance of {options.release}.")
    about = machine()
    try:
        # Beside the results: what is measured is the disk that they are on.
        with tempfile.TemporaryDirectory(prefix="caches-", dir=folder) as directory:
            _measure(options, found, Path(directory).resolve())
    except KeyboardInterrupt:
        say("interrupted; what was measured so far follows")
        return 130
    except (ClusterError, AssertionError, OSError, RuntimeError) as error:
        found.problems.append(f"{type(error).__name__}: {error}")
    finally:
        _show(found, about, folder)
    return 1 if found.problems else 0


def _measure(options: argparse.Namespace, found: Results, directory: Path) -> None:
    with place(options.release, directory) as at:
        if "fetch" in options.phases:
            fetching.measure(
                at, found, mebibytes=options.mebibytes, rounds=options.rounds, idle_seconds=options.idle_seconds
            )
        if "fill" in options.phases:
            filling.measure(at, found, mebibytes=options.fill_mebibytes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.caches", description=__doc__)
    parser.add_argument("--phases", nargs="*", choices=PHASES, default=PHASES, help="what to measure (default: all)")
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the image of one node (default: 1024)")
    parser.add_argument("--fill-mebibytes", type=int, default=256, help="size of each image of three (default: 256)")
    parser.add_argument("--rounds", type=int, default=7, help="how often to fetch it in each way (default: 7)")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="how long to look on (default: 60)")
    parser.add_argument("--release", choices=RELEASES, default="2026.1", help="of Glance (default: 2026.1)")
    parser.add_argument("--output", type=Path, default=Path(".work/bench"), metavar="DIR", help="default: .work/bench")
    return parser


def _show(found: Results, about: dict[str, Any], folder: Path) -> None:
    known = results_of.figures(FIGURES)
    lines = [f"{found.subject}: {found.description}", "", table.table([found], known), ""]
    lines += [f"over the target: {sentence}" for sentence in results_of.missed(found, known)]
    lines += [f"problem: {problem}" for problem in found.problems]
    lines += [f"{about['cpus']} processors, load {about['load_before']:.1f} before"]
    shown = "\n".join(lines) + "\n"
    print(shown)
    (folder / "caches.txt").write_text(shown)
    results_of.write(folder / "caches.json", about, [found], known)
    say(f"written: {folder / 'caches.txt'}, caches.json")


if __name__ == "__main__":
    sys.exit(main())
