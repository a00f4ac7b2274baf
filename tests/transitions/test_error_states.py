"""Out of every error state there is a way back, and it ends where one who never made the mistake would be."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.api_client import Manifest
from tests.transitions.cache_states import CACHE_STATES
from tests.transitions.conftest import Effort
from tests.transitions.error_states import ERROR_STATES, GOOD, OUT_OF_REACH, ErrorState, Overlay
from tests.transitions.home import Home
from tests.transitions.oracle import Oracle
from tests.transitions.outcome import conditions, ours, reasons
from tests.transitions.trial import Homes, Tried, side_by_side

from imageservice.status.reasons import REASONS, Nature

STATES = (*ERROR_STATES, *CACHE_STATES)
BAD = (Nature.BAD_INPUT, Nature.WAITING, Nature.FAULT, Nature.IDLE)
Tell = Callable[[str], None]


def test_every_reason_that_is_not_good_has_a_way_there_or_a_word_why_not() -> None:
    bad = {reason for reason, nature in REASONS.items() if nature in BAD}
    reached = {state.reason for state in STATES}
    assert reached | set(OUT_OF_REACH) == bad
    assert not reached & set(OUT_OF_REACH)


def good(home: Home, state: ErrorState) -> Overlay:
    """Return all that is in a namespace where all is well."""
    return home.standard() | GOOD | state.beside


def break_it(home: Home, state: ErrorState) -> None:
    """Bring a namespace into an error state, from wherever it is, and wait until it is told."""
    if state.arrange:
        state.arrange(home)
    home.have(good(home, state) | state.overlay)
    if state.after:
        state.after(home)

    def told() -> bool:
        found = next((m for m in home.objects() if f"{m['kind']}/{m['metadata']['name']}" == state.on), None)
        condition = conditions(found).get(state.condition, {}) if found else {}
        every = {c["reason"] for c in conditions(found).values()} if found else set()
        return condition.get("status") != "True" and state.reason in every

    home.wait(told, lambda: f"{state.on} says {state.reason}: {reasons(home.objects())}")


def mend_it(home: Home, state: ErrorState) -> None:
    """Put right what is wrong."""
    if state.undo:
        state.undo(home)
    home.have(dict.fromkeys(state.overlay) | good(home, state))


def all_ready(objects: list[Manifest]) -> bool:
    """Tell whether every object of ours is Ready."""
    return all(conditions(manifest).get("Ready", {}).get("status") == "True" for manifest in ours(objects))


def serving(objects: list[Manifest]) -> set[str]:
    """Return the uids of the Deployments with pods that can be reached, and of the DaemonSets that have nodes."""
    counts = {"Deployment": "availableReplicas", "DaemonSet": "desiredNumberScheduled"}
    return {
        manifest["metadata"]["uid"]
        for manifest in objects
        if manifest.get("status", {}).get(counts.get(manifest["kind"], ""))
    }


SETTLED_SECONDS = 12.0
"""How long nothing may have moved before a namespace in trouble counts as settled: pods of the spec before may still be
rolling out, with pauses of `minReadySeconds` (5) and of 10 s between two counts of them in the status.
"""
SETTLING_SECONDS = 180.0
IDLE_SECONDS = 17.0
"""Longer than the pauses after which what is wrong is looked at again, but for a failed Job's and a refusal's."""
LASTING = ("InvalidExtraConfig", "SecretNotFound", "ClaimNotFound", "NameTaken", "RefusedByAPIServer")
LASTING += ("PodNotScheduled", "ScaledToZero", "KeystoneUnreachable", "CredentialsRefused", "SecretKeyMissing")
"""One of every way to be in an error state for long."""


def settle(home: Home) -> None:
    """Wait until nothing has moved in a namespace for long, whatever is wrong in it."""
    home.rest()
    view = home.around.view
    home.wait(
        lambda: view.quiet_seconds(home.name) >= SETTLED_SECONDS,
        lambda: f"nothing moves; moved most: {view.moves(home.name).most_common(4)}",
        SETTLING_SECONDS,
    )


def stays(home: Home, state: ErrorState) -> list[str]:
    """Return what moves in a namespace where an error stays as it is, in words."""
    settle(home)
    before = home.around.view.moves(home.name)
    time.sleep(IDLE_SECONDS)
    moved = home.around.view.moves(home.name) - before
    return [f"{state}: {key} moved {count} times while nothing was changed" for key, count in moved.items()]


def into_it_and_out(homes: Homes, state: ErrorState) -> Tried:
    """Try one error state: reached from a good state, and from the beginning."""
    tried = Tried()
    with homes.borrowed() as x, homes.borrowed() as y:
        x.have(good(x, state))
        x.wait(lambda: all_ready(x.objects()), lambda: f"all is well: {reasons(x.objects())}")
        settle(x)
        as_it_should_be = x.objects()
        break_it(x, state)
        break_it(y, state)
        if state.serves and serving(x.objects()) != serving(as_it_should_be):
            tried.failures.append(f"{state}: what ran before does not go on")
        if state.after is None:
            tried.failures += stays(x, state)
        mend_it(x, state)
        mend_it(y, state)
        for home, how in ((x, "broken and mended"), (y, "created broken, then mended")):
            lines = home.differences(lambda: as_it_should_be, x.name, state.patience)
            tried.compared(f"{state}: {how}", lines)
    return tried


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_write_is_sent_while_nothing_changes_whatever_is_wrong(homes: Homes, oracle: Oracle, tell: Tell) -> None:
    lasting = [state for state in STATES if state.reason in LASTING and not state.name]
    together = threading.Barrier(len(lasting) + 1, timeout=600)

    def stay_in_it(state: ErrorState) -> None:
        with homes.borrowed() as home:
            break_it(home, state)
            settle(home)
            together.wait()  # all are at rest
            together.wait()  # the idle time is over
            mend_it(home, state)

    with ThreadPoolExecutor(len(lasting)) as pool:
        ended = [pool.submit(stay_in_it, state) for state in lasting]
        together.wait()
        written = oracle.writes()
        time.sleep(IDLE_SECONDS)
        writes = oracle.writes() - written
        together.wait()
    for one in ended:
        one.result()
    tell(f"{writes:g} writes in {IDLE_SECONDS:g} s beside {len(lasting)} ImageServices, each wrong in its own way")
    assert writes == 0


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_out_of_every_error_state_the_way_back_ends_as_if_created_right(
    homes: Homes, oracle: Oracle, tell: Tell, progress: Tell, effort: Effort
) -> None:
    tried = side_by_side(STATES, lambda state: into_it_and_out(homes, state), effort.at_once, str, progress)
    told = {state.reason for state in STATES}
    tell(f"{tried.transitions} ways out of {len(STATES)} error states with {len(told)} reasons")
    assert not tried.failures, "\n\n".join(tried.failures)
    assert tried.transitions == 2 * len(STATES)
    assert oracle.errors() == 0
