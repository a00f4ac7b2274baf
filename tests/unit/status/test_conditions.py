"""Conditions: summary, merge, and the Events that follow from them."""

import pytest

from imageservice.status.conditions import Condition, false, merge, shorten, summarise, true
from imageservice.status.events import transitions
from imageservice.status.reasons import REASONS, Nature

GOOD = true("Accepted", "Accepted")
WORKING = false("ApiAvailable", "RollingOut", "1 of 2")
ROLLING = true("ApiAvailable", "RollingOut", "2 of 2")
MISSING = false("ResolvedRefs", "SecretNotFound", "create it")
FAULT = false("DatabaseReady", "DatabaseUnreachable", "down")
BAD = false("Accepted", "InvalidExtraConfig", "mend it")


@pytest.mark.parametrize(
    ("conditions", "ready", "reason", "others"),
    [
        ([GOOD], "True", "Ready", set()),
        ([GOOD, WORKING], "Unknown", "Progressing", {"Reconciling"}),
        ([GOOD, ROLLING], "Unknown", "Progressing", {"Reconciling"}),
        ([GOOD, MISSING], "False", "SecretNotFound", {"Reconciling"}),
        ([GOOD, FAULT], "False", "DatabaseUnreachable", set()),
        ([GOOD, WORKING, FAULT], "False", "DatabaseUnreachable", {"Reconciling"}),
        ([WORKING, FAULT, BAD], "False", "InvalidExtraConfig", {"Stalled"}),
    ],
)
def test_the_summary_says_the_worst_thing_first(conditions, ready, reason, others):
    summary = {condition.type: condition for condition in summarise(conditions)}
    assert (summary["Ready"].status, summary["Ready"].reason) == (ready, reason)
    assert set(summary) - {"Ready"} == others


def test_reconciling_and_stalled_are_never_both_there():
    everything = [Condition(f"C{i}", "False", reason) for i, reason in enumerate(REASONS)]
    for left in everything:
        for right in everything:
            types = {condition.type for condition in summarise([left, right])}
            assert not {"Reconciling", "Stalled"} <= types


def test_a_transition_time_moves_only_when_the_status_flips():
    first = merge([], [WORKING], 1, "2026-01-01T00:00:00Z")
    reworded = merge(first, [false("ApiAvailable", "ImageNotPulled", "x")], 2, "2026-01-02T00:00:00Z")
    flipped = merge(reworded, [true("ApiAvailable", "Available")], 3, "2026-01-03T00:00:00Z")
    assert [c[0]["lastTransitionTime"][:10] for c in (first, reworded, flipped)] == [
        "2026-01-01",
        "2026-01-01",
        "2026-01-03",
    ]
    assert flipped[0]["observedGeneration"] == 3


def test_a_repeated_observation_is_no_event():
    written = merge([], [GOOD, FAULT], 1, "2026-01-01T00:00:00Z")
    assert [event.reason for event in transitions([], written)] == ["DatabaseUnreachable"]
    assert transitions(written, merge(written, [GOOD, FAULT], 2, "2026-01-02T00:00:00Z")) == []


def test_the_end_of_trouble_is_told_and_the_way_through_what_is_well_is_not():
    trouble = merge([], [GOOD, FAULT], 1, "2026-01-01T00:00:00Z")
    well = merge(trouble, [GOOD, true(FAULT.type, "SchemaCurrent")], 1, "2026-01-02T00:00:00Z")
    assert [(event.type, event.reason) for event in transitions(trouble, well)] == [("Normal", "SchemaCurrent")]
    ready = merge(well, [GOOD, *summarise([GOOD])], 1, "2026-01-02T00:00:00Z")
    assert [(event.type, event.reason) for event in transitions(well, ready)] == [("Normal", "Ready")]


def test_a_fault_is_a_warning_and_progress_is_no_event():
    written = merge([], [FAULT, WORKING, *summarise([FAULT, WORKING])], 1, "2026-01-01T00:00:00Z")
    assert [(event.type, event.reason) for event in transitions([], written)] == [("Warning", "DatabaseUnreachable")]


def test_a_long_message_is_cut_to_what_the_api_server_takes():
    assert len(shorten("x" * 5000)) == 1024
    assert shorten("short") == "short"


def test_every_reason_is_a_camel_case_word_with_a_nature():
    assert all(reason.isalpha() and reason[0].isupper() for reason in REASONS)
    assert set(REASONS.values()) == set(Nature)
