"""Each case renders to exactly the children beside it.

`input.yaml` goes the way of `image-service-operator render`; `expected.yaml` is what comes out, secrets hidden. After a
wanted change, `python tests/golden/test_golden.py --write` writes them anew.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from imageservice.dry_run import render
from imageservice.render import ini
from imageservice.render.store_monitor import PROGRAMS

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/input.yaml"))
NOT_SHOWN = ("database.py", "glance-api-paste.ini", *PROGRAMS)
"""Files in Secrets that are the same in every case; they are tested where they run, and would only fill the page."""

CONFIDENTIAL = {
    *("password", "application_credential_secret", "url", "connection", "userKey", "key"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
}
"""Keys of the Secrets in the inputs whose values must not be shown."""


class _Readable(yaml.SafeDumper):
    """YAML that shows a file in a Secret as a block of text, and everything where it is."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _block_of_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _block_of_text)


def rendered(case: Path) -> str:
    """Return the children of a case as YAML."""
    children = render([case / "input.yaml"])
    for child in children:
        for name in list(child.get("stringData", {})):
            if name in NOT_SHOWN or (name.startswith("prefetcher.") and name.endswith(".py")):
                del child["stringData"][name]
    return yaml.dump_all(children, Dumper=_Readable, sort_keys=False, width=120)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_children_are_the_expected_ones(case: Path) -> None:
    expected: list[Any] = list(yaml.safe_load_all((case / "expected.yaml").read_text()))
    found = list(yaml.safe_load_all(rendered(case)))
    assert [child["metadata"]["name"] for child in found] == [child["metadata"]["name"] for child in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == theirs


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_password_of_the_input_is_in_what_is_shown(case: Path) -> None:
    secrets = [item for item in yaml.safe_load_all((case / "input.yaml").read_text()) if item["kind"] == "Secret"]
    hidden = [text for secret in secrets for key, text in secret["stringData"].items() if key in CONFIDENTIAL]
    shown = rendered(case)
    assert hidden
    for text in hidden:
        assert not [form for form in (text, ini.value_text(text), text.replace("%", "%%")) if form in shown]


def main() -> int:
    """Write the expected children of every case anew."""
    if sys.argv[1:] != ["--write"]:
        sys.stderr.write("--write replaces the expected.yaml of every case with what is rendered now\n")
        return 2
    for case in CASES:
        (case / "expected.yaml").write_text(rendered(case))
    return 0


if __name__ == "__main__":
    sys.exit(main())
