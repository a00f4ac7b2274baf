"""Where the pods run and what they get: the curated part of a pod's spec that users may set."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import ATOMIC, Cel, list_map, schema_format, unit, unset
from imageservice.api.quantities import Cpu, Memory, amount
from imageservice.api.v1alpha1.common import ApiModel
from imageservice.api.v1alpha1.selectors import LabelKey, LabelValue


class ResourceAmounts(ApiModel):
    """Amounts of CPU and memory of one pod's container."""

    cpu: Annotated[Cpu | None, Field(description="Amount of CPU.", examples=["500m"]), unset("none set")] = None
    memory: Annotated[Memory | None, Field(description="Amount of memory.", examples=["1Gi"]), unset("none set")] = None


def _within(resource: str) -> Cel:
    def check(resources: "Resources") -> bool:
        wanted = getattr(resources.requests, resource, None)
        limit = getattr(resources.limits, resource, None)
        return wanted is None or limit is None or amount(wanted) <= amount(limit)

    request, limit = f"self.requests.{resource}", f"self.limits.{resource}"
    both = f"has(self.requests) && has({request}) && has(self.limits) && has({limit})"
    return Cel(
        f"!({both}) || quantity(string({request})).compareTo(quantity(string({limit}))) <= 0",
        f"`requests.{resource}` must not be more than `limits.{resource}`",
        field_path=".requests",
        check=check,
    )


class Resources(ApiModel):
    """What a container asks for and may use at most."""

    rules: ClassVar[tuple[Cel, ...]] = (_within("cpu"), _within("memory"))

    requests: Annotated[
        ResourceAmounts | None,
        Field(
            description="What the scheduler sets aside for each pod.",
            examples=[{"cpu": "500m", "memory": "1Gi"}],
        ),
        unset("the limits, else nothing"),
    ] = None
    limits: Annotated[
        ResourceAmounts | None,
        Field(description="What each pod may use at most.", examples=[{"memory": "2Gi"}]),
        unset("no limit"),
    ] = None


class Toleration(ApiModel):
    """A taint of nodes that the pods put up with."""

    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            "`key` must be set unless `operator` is Exists",
            field_path=".key",
            reason="FieldValueRequired",
            check=lambda toleration: toleration.key is not None or toleration.operator == "Exists",
        ),
        Cel(
            "!has(self.value) || !has(self.operator) || self.operator == 'Equal'",
            "`value` must not be set where `operator` is Exists",
            field_path=".value",
            reason="FieldValueForbidden",
            check=lambda toleration: toleration.value is None or toleration.operator != "Exists",
        ),
        Cel(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "`tolerationSeconds` must be set only where `effect` is NoExecute",
            field_path=".tolerationSeconds",
            reason="FieldValueForbidden",
            check=lambda toleration: toleration.toleration_seconds is None or toleration.effect == "NoExecute",
        ),
    )

    key: Annotated[
        LabelKey | None,
        Field(
            description="Key of the taint.",
            examples=["node-role.kubernetes.io/control-plane"],
        ),
        unset("every key, which needs `operator` Exists"),
    ] = None
    operator: Annotated[
        Literal["Exists", "Equal"] | None,
        Field(description="Whether the taint's value counts.", examples=["Exists"]),
        unset("Equal"),
    ] = None
    value: Annotated[
        LabelValue | None,
        Field(description="Value of the taint, with `operator` Equal.", examples=["glance"]),
        unset("the empty value"),
    ] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="Effect of the taint.", examples=["NoSchedule"]),
        unset("every effect"),
    ] = None
    toleration_seconds: Annotated[
        Annotated[int, Field(ge=0, le=2_592_000), schema_format("int64"), unit("seconds")] | None,
        Field(
            description="How long a pod stays on a node that got the taint, with `effect` NoExecute.",
            examples=[300],
        ),
        unset("for ever"),
    ] = None


class TopologySpreadConstraint(ApiModel):
    """How evenly the pods are spread over parts of the cluster. The operator adds the label selector."""

    max_skew: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="How many pods more one part may have than the emptiest part.",
            examples=[1],
        ),
        schema_format("int32"),
        unit("pods"),
    ]
    topology_key: Annotated[
        LabelKey,
        Field(
            description="Label of nodes: nodes with the same value are one part.", examples=["kubernetes.io/hostname"]
        ),
    ]
    when_unsatisfiable: Annotated[
        Literal["DoNotSchedule", "ScheduleAnyway"],
        Field(
            description="What happens to a pod that has no place which keeps the rule: it waits, or it is put anyway.",
            examples=["ScheduleAnyway"],
        ),
    ]


Tolerations = Annotated[list[Toleration], Field(max_length=32), ATOMIC]
"""The taints that pods put up with. The field says whose pods, and what holds where it is not set."""

TopologySpread = Annotated[
    list[TopologySpreadConstraint],
    Field(max_length=8),
    unset("over nodes as evenly as possible, without holding up a pod"),
    list_map("topologyKey", "whenUnsatisfiable"),
]
"""How pods are spread. The field says over what."""
