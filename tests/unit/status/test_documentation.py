"""What a user reads about the reasons is what there is."""

import re
from pathlib import Path

from imageservice.status.reasons import REASONS, Nature

PAGE = (Path(__file__).parents[3] / "docs" / "status.md").read_text()
SECTIONS = {
    "All is well": {Nature.GOOD},
    "Work goes on": {Nature.PROGRESS},
    "Something that is referred to": {Nature.WAITING},
    "The input has to be changed": {Nature.BAD_INPUT},
    "Something outside fails": {Nature.FAULT, Nature.IDLE},
}
EVENTS = {"CatalogChanged", "CatalogRemoved", "CatalogEntriesLeft"}


def test_every_reason_is_explained_under_its_nature():
    for title, natures in SECTIONS.items():
        section = PAGE.split(f"### {title}", 1)[1].split("\n##", 1)[0]
        wanted = {reason for reason, nature in REASONS.items() if nature in natures} - EVENTS
        found = {word for word in re.findall(r"`(\w+)`", section) if word in REASONS}
        assert found == wanted, title


def test_every_event_of_its_own_is_explained():
    section = PAGE.split("## Events", 1)[1]
    assert set(re.findall(r"`(\w+)`", section)) >= EVENTS
