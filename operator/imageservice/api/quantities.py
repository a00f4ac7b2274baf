"""Kubernetes quantities (`500m`, `10Gi`): the texts that the API takes, and what they are worth."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from imageservice.api.markers import INT_OR_STRING, Cel, Pattern, unit

FACTORS: dict[str, Decimal] = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P"), start=1)},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), start=1)},
}
"""What each suffix of a quantity multiplies by."""

_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)")


def amount(quantity: str) -> Decimal:
    """Return what a quantity is worth in its base unit (bytes, cores). ValueError where it is not a quantity."""
    parts = _PARTS.fullmatch(quantity)
    if parts is None or parts[2] not in FACTORS:
        raise ValueError("not a Kubernetes quantity")
    return Decimal(parts[1]) * FACTORS[parts[2]]


def between(least: str, most: str) -> Cel:
    """Return the rule that a quantity is neither less than `least` nor more than `most`."""
    return Cel(
        f"quantity(string(self)).compareTo(quantity('{least}')) >= 0 && "
        f"quantity(string(self)).compareTo(quantity('{most}')) <= 0",
        f"must be {least} or more and {most} or less",
        check=lambda quantity: amount(least) <= amount(quantity) <= amount(most),
    )


def as_text(value: Any) -> Any:
    """Take a whole number as the text it would be written as; leave all else to the type's own check."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value


Cpu = Annotated[
    str,
    Field(min_length=1, max_length=16),
    Pattern(
        r"^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$",
        'must be an amount of CPU: cores like 2 or "0.5", or thousandths of a core like 500m',
        subject="string(self)",
    ),
    INT_OR_STRING,
    unit("cores"),
    BeforeValidator(as_text),
]
"""An amount of CPU."""

Memory = Annotated[
    str,
    Field(min_length=1, max_length=24),
    Pattern(
        r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
        "must be a number of bytes, with or without a suffix k, M, G, T, P, Ki, Mi, Gi, Ti or Pi, like 512Mi",
        subject="string(self)",
    ),
    INT_OR_STRING,
    unit("bytes"),
    BeforeValidator(as_text),
]
"""An amount of memory; zero is allowed."""

Size = Annotated[
    str,
    Field(min_length=1, max_length=24),
    Pattern(
        r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
        "must be one byte or more, with or without a suffix k, M, G, T, P, Ki, Mi, Gi, Ti or Pi, like 10Gi",
        subject="string(self)",
    ),
    INT_OR_STRING,
    unit("bytes"),
    BeforeValidator(as_text),
]
"""The size of a volume; more than zero."""
