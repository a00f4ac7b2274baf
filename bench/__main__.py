"""`python -m bench`: measure operators on a control plane with nodes that only claim to run pods."""

import argparse
import asyncio
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.cluster.errors import ClusterError
from tests.cluster.progress import say

from bench import picture, results, site, table
from bench.api import ApiError
from bench.measure import Plan, measure, subjects
from bench.phases import PHASES
from bench.results import Results
from bench.run import Problem
from bench.subject import BadSubject, Subject

OURS = Path(__file__).with_name("subjects") / "image-service-operator.yaml"


def main() -> int:
    """Measure, show and write; 1 where something could not be measured, 2 where the arguments are wrong."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        chosen = subjects(options.subjects or [OURS])
    except (BadSubject, Problem) as error:
        print(error, file=sys.stderr)
        return 2
    plan = Plan(tuple(sorted(options.n)), tuple(options.phases), options.idle_seconds, options.keep_logs)
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    about = machine()
    found: list[Results] = []
    try:
        for subject in chosen:
            found.append(Results(subject.name, " ".join(subject.description.split())))
            _measure(subject, plan, found[-1], folder)
    except KeyboardInterrupt:
        say("interrupted; what was measured so far follows")
        return 130
    finally:
        _show(found, about, folder)
    return 1 if any(one.problems for one in found) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [phase.name for phase in PHASES]
    parser.add_argument(
        "-n",
        type=_counts,
        default=(1, 20, 100, 500),
        metavar="N,N",
        help="numbers of instances (default: 1,20,100,500)",
    )
    parser.add_argument(
        "--phases",
        type=lambda text: _words(text, names),
        default=names,
        metavar="NAME,NAME",
        help=f"what to measure beside the creation in a burst (default: all of {', '.join(names)})",
    )
    parser.add_argument(
        "--subject",
        dest="subjects",
        type=Path,
        action="append",
        metavar="FILE",
        help=f"an operator and its objects; may be repeated (default: {OURS.name})",
    )
    parser.add_argument("--output", type=Path, default=Path(".work/bench"), metavar="DIR", help="default: .work/bench")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="how long to look on (default: 60)")
    parser.add_argument("--keep-logs", action="store_true", help="copy the API server's logs to the output directory")
    return parser


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(int(word) for word in text.split(","))
    if not counts or min(counts) < 1 or len(set(counts)) < len(counts):
        raise argparse.ArgumentTypeError("numbers from 1, each once, with commas between")
    return counts


def _words(text: str, known: list[str]) -> list[str]:
    words = [word for word in text.split(",") if word]
    if unknown := set(words) - set(known):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    return words


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _measure(subject: Subject, plan: Plan, found: Results, folder: Path) -> None:
    """Measure one subject on a cluster of its own; whatever ends it, the cluster is taken down."""
    (folder / f"{subject.name}.log").unlink(missing_ok=True)
    try:
        with site.cluster(subject.name, folder, keep_logs=plan.keep_logs) as made:
            asyncio.run(measure(subject, made, plan, found, folder))
    except (ClusterError, ApiError, BadSubject, TimeoutError, OSError) as error:
        found.problems.append(f"{type(error).__name__}: {error}")


def _show(found: list[Results], machine: dict[str, Any], folder: Path) -> None:
    known = results.figures()
    text = [f"{one.subject}: {one.description}" for one in found]
    text += ["", table.table(found, known)]
    for one in found:
        for phase in ("create.one", "create.burst"):
            counts = one.requests.get(phase, {})
            text += ["", table.requests(one, phase, max(counts))] if counts else []
        text += ["", table.programs(one)] if one.programs else []
        text += ["", table.neighbours(one.neighbours)] if one.neighbours else []
        text += ["", *(f"over the target: {sentence}" for sentence in results.missed(one, known))]
        text += [f"problem: {problem}" for problem in one.problems]
    load = f"load {machine['load_before']:.1f} before"
    text += ["", f"{machine['cpus']} processors, {load}; peer: glance-operator (Go), see bench/figures.yaml"]
    shown = "\n".join(text) + "\n"
    print(shown)
    (folder / "bench.txt").write_text(shown)
    results.write(folder / "bench.json", machine, found, known)
    (folder / "bench.svg").write_text(picture.picture(found, known))
    say(f"written: {folder / 'bench.txt'}, bench.json, bench.svg")


if __name__ == "__main__":
    sys.exit(main())
