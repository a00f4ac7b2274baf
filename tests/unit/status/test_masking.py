"""A value is masked in every form that a program may give it, whole or next to where a line is cut."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from imageservice.sensitive import Sensitive
from imageservice.status.masking import redact, redact_all
from imageservice.status.pods import MAX_LINE_LENGTH, diagnose

VALUE = "p\"'ä$x %&/<é\\z"
WAYS = {
    "as it is": VALUE,
    "url": quote(VALUE, safe=""),
    "path": quote(VALUE),
    "form": quote_plus(VALUE),
    "json": json.dumps(VALUE),
    "json with letters": json.dumps(VALUE, ensure_ascii=False),
    "json in json": json.dumps(json.dumps(VALUE)),
    "repr": repr(VALUE),
    "bytes": repr(VALUE.encode()),
    "html": html.escape(VALUE),
    "ini": VALUE.replace("$", "\\$"),
    "base64": base64.b64encode(VALUE.encode()).decode(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_value_is_masked_however_it_is_written(way):
    shown = redact(f"<{WAYS[way]}>", [Sensitive(VALUE)])
    assert shown.replace("***", "").strip("<>\\\"'b=") == ""
    assert "***" in shown


def test_other_forms_of_a_short_value_are_not_looked_for():
    assert redact("YQ", [Sensitive("a")]) == "YQ"
    assert redact("a", [Sensitive("a")]) == "***"


def test_every_text_of_an_object_is_masked_and_the_object_stays():
    found = {"a": ["x hunter22", {"b": "hunter22"}], "n": 1}
    assert redact_all(found, [Sensitive("hunter22")]) == {"a": ["x ***", {"b": "***"}], "n": 1}
    assert found["a"][1] == {"b": "hunter22"}


@pytest.mark.parametrize("value", ["hunter22-and-more", "abc0xdeadbeef01def"])
def test_a_value_where_a_line_is_cut_or_stripped_is_masked(value):
    said = f"ERROR {'x' * (MAX_LINE_LENGTH - 10)}{value}"
    ended = {"exitCode": 1, "message": said}
    status = {"containerStatuses": [{"name": "api", "state": {"terminated": ended}}]}
    problem = diagnose([{"metadata": {"name": "p"}, "status": status}], [Sensitive(value)])
    assert value[:4] not in problem.message
