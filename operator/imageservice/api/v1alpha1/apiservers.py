"""The pods that serve the API of Glance."""

from typing import Annotated

from pydantic import Field

from imageservice.api.markers import IN_SCHEMA, schema_format, unit, unset
from imageservice.api.v1alpha1.common import ApiModel
from imageservice.api.v1alpha1.placement import Resources, Tolerations, TopologySpread
from imageservice.api.v1alpha1.selectors import NodeSelector


class ApiServers(ApiModel):
    """The glance-api pods."""

    replicas: Annotated[
        int,
        Field(ge=0, le=64, description="How many pods serve the API. 0 stops the service.", examples=[3]),
        schema_format("int32"),
        unit("pods"),
        IN_SCHEMA,
    ] = 2
    processes: Annotated[
        int,
        Field(ge=1, le=64, description="How many processes serve requests in each pod.", examples=[4]),
        schema_format("int32"),
        unit("processes per pod"),
        IN_SCHEMA,
    ] = 2
    threads: Annotated[
        int,
        Field(
            ge=1,
            le=256,
            description="How many requests each process serves at once. An upload or download takes a thread for as "
            "long as it lasts.",
            examples=[32],
        ),
        schema_format("int32"),
        unit("threads per process"),
        IN_SCHEMA,
    ] = 16
    termination_grace_period_seconds: Annotated[
        int,
        Field(
            ge=30,
            le=86400,
            description="How long uploads and downloads that run in a pod may go on when it is replaced.",
            examples=[900],
        ),
        schema_format("int64"),
        unit("seconds"),
        IN_SCHEMA,
    ] = 600
    resources: Annotated[
        Resources | None,
        Field(
            description="CPU and memory of each pod.",
            examples=[{"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}],
        ),
        unset("none set"),
    ] = None
    node_selector: Annotated[
        NodeSelector,
        Field(
            description="Labels that a node must have to run the pods.",
            examples=[{"node-role.kubernetes.io/controller": ""}],
        ),
        unset("any node"),
    ] = Field(default_factory=dict)
    tolerations: Annotated[
        Tolerations,
        Field(
            description="Taints of nodes that the pods put up with.",
            examples=[[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]],
        ),
        unset("none"),
    ] = Field(default_factory=list)
    topology_spread_constraints: Annotated[
        TopologySpread,
        Field(
            description="How the pods are spread over nodes or zones.",
            examples=[[{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}]],
        ),
    ] = Field(default_factory=list)
