"""What goes over the wire."""

import json

import pytest

from imageservice.runtime.transport import encode


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain é", b'"plain \\u00e9"'),
        ("\U0001f680", '"\U0001f680"'.encode()),
        ("\\ud83d\\ude80 as text", b'"\\\\ud83d\\\\ude80 as text"'),
        ("\\\U0001f680", '"\\\\\U0001f680"'.encode()),
        ("\x85\x7f", b'"\\u0085\\u007f"'),
    ],
)
def test_a_body_is_json_that_is_yaml_too(text, written):
    assert encode({"a": text}) == b'{"a":' + written + b"}"
    assert json.loads(encode({"a": text})) == {"a": text}
