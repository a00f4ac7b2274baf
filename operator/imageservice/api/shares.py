"""Amounts of nodes that users write as a number or as a share of all: `10` or `20%`."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from imageservice.api.markers import INT_OR_STRING, Pattern, unit
from imageservice.api.quantities import as_text

Share = Annotated[
    str,
    Field(min_length=1, max_length=5),
    Pattern(
        r"^([0-9]{1,5}|([0-9]|[1-9][0-9]|100)%)$",
        "must be a number of nodes up to 99999, or a share of them from 0% to 100%, like 10 or 20%",
        subject="string(self)",
    ),
    INT_OR_STRING,
    unit("nodes, or percent of them"),
    BeforeValidator(as_text),
]
"""A number of nodes or a percentage of them; none is allowed."""

SomeShare = Annotated[
    str,
    Field(min_length=1, max_length=5),
    Pattern(
        r"^([1-9][0-9]{0,4}|([1-9][0-9]?|100)%)$",
        "must be a number of nodes from 1 to 99999, or a share of them from 1% to 100%, like 1 or 10%",
        subject="string(self)",
    ),
    INT_OR_STRING,
    unit("nodes, or percent of them"),
    BeforeValidator(as_text),
]
"""A number of nodes or a percentage of them; more than none."""


def part_of(share: str, total: int) -> int:
    """Return how many of `total` nodes a share is. Percents are rounded up, so that a few are never none."""
    if share.endswith("%"):
        return -(-int(share.removesuffix("%")) * total // 100)
    return int(share)


def int_or_text(share: str) -> int | str:
    """Return a share as the objects of Kubernetes hold it: a number as a number, percents as text."""
    return share if share.endswith("%") else int(share)
