"""Labels, and how objects are chosen by them."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import ATOMIC, LIST_SET, Cel, Pattern, map_keys, unset
from imageservice.api.v1alpha1.common import ApiModel

QUALIFIED_NAME = (
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
LONGEST_PREFIX = 253
"""Of the part of a label key before its `/`, in characters (Kubernetes: "Labels and selectors"). No regex counts it."""
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"


def has_short_prefix(key: str) -> bool:
    """Tell whether the key of a label has no prefix that is too long for Kubernetes."""
    return key.find("/") <= LONGEST_PREFIX


LabelKey = Annotated[
    str,
    Field(min_length=1, max_length=317),
    Pattern(rf"^{QUALIFIED_NAME}$", "must be the key of a label, like topology.kubernetes.io/zone"),
    Cel(
        f"self.indexOf('/') <= {LONGEST_PREFIX}",
        f"must have at most {LONGEST_PREFIX} characters before the `/`",
        check=has_short_prefix,
    ),
]
LabelValue = Annotated[
    str,
    Field(max_length=63),
    Pattern(LABEL_VALUE, "must be the value of a label: letters, digits, `-`, `_` and `.`, or empty"),
]

Labels = Annotated[
    dict[str, LabelValue],
    Field(max_length=32),
    map_keys(rf"^{QUALIFIED_NAME}$", "each key must be the key of a label, like topology.kubernetes.io/zone"),
    Cel(
        f"self.all(key, key.indexOf('/') <= {LONGEST_PREFIX})",
        f"each key must have at most {LONGEST_PREFIX} characters before the `/`",
        check=lambda labels: all(map(has_short_prefix, labels)),
    ),
]
"""Labels that an object must have, all of them: key -> value."""

NodeSelector = Labels
"""The same of nodes."""


class LabelRequirement(ApiModel):
    """One condition on the labels of an object (meta/v1 LabelSelectorRequirement)."""

    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : "
            "!has(self.values) || size(self.values) == 0",
            "`values` must be set where `operator` is In or NotIn, and only there",
            field_path=".values",
            check=lambda found: bool(found.values) == (found.operator in ("In", "NotIn")),
        ),
    )

    key: Annotated[LabelKey, Field(description="Key of the label.", examples=["imageservice.dev/tier"])]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"],
        Field(
            description="How the label is compared with `values`. NotIn and DoesNotExist hold without the label too.",
            examples=["In"],
        ),
    ]
    values: Annotated[
        list[LabelValue],
        Field(max_length=32, description="The values that In and NotIn compare with.", examples=[["gold", "silver"]]),
        unset("none"),
        LIST_SET,
    ] = Field(default_factory=list)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels meets the condition."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(ApiModel):
    """Which objects are meant, by their labels: those that meet every condition (meta/v1 LabelSelector)."""

    match_labels: Annotated[
        Labels,
        Field(description="Labels that an object must have.", examples=[{"imageservice.dev/tier": "gold"}]),
        unset("none"),
    ] = Field(default_factory=dict)
    match_expressions: Annotated[
        list[LabelRequirement],
        Field(
            max_length=16,
            description="Further conditions on the labels of an object.",
            examples=[[{"key": "imageservice.dev/tier", "operator": "In", "values": ["gold", "silver"]}]],
        ),
        unset("none"),
        ATOMIC,
    ] = Field(default_factory=list)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels is meant. A selector without conditions means every object."""
        required = self.match_labels.items() <= labels.items()
        return required and all(condition.matches(labels) for condition in self.match_expressions)
