"""The edge of an ImageStore: API pods beside the store."""

from typing import Annotated

from pydantic import Field

from imageservice.api.markers import IN_SCHEMA, schema_format, unit, unset
from imageservice.api.v1alpha1.common import ApiModel
from imageservice.api.v1alpha1.placement import Resources, Tolerations, TopologySpread
from imageservice.api.v1alpha1.selectors import NodeSelector


class Edge(ApiModel):
    """API pods of their own, on the nodes of the store's site. What is not set here is as in the service's `api`."""

    replicas: Annotated[
        int,
        Field(ge=0, le=64, description="How many pods serve the API at this edge. 0 stops them.", examples=[2]),
        schema_format("int32"),
        unit("pods"),
        IN_SCHEMA,
    ] = 1
    node_selector: Annotated[
        NodeSelector,
        Field(
            min_length=1,
            description="Labels of the nodes of this site: the pods run on these nodes only.",
            examples=[{"topology.kubernetes.io/zone": "dcn0"}],
        ),
    ]
    tolerations: Annotated[
        Tolerations,
        Field(
            description="Taints of the site's nodes that the pods put up with.",
            examples=[[{"key": "node-role.kubernetes.io/edge", "operator": "Exists"}]],
        ),
        unset("none"),
    ] = Field(default_factory=list)
    topology_spread_constraints: Annotated[
        TopologySpread,
        Field(
            description="How the pods are spread over the nodes of the site.",
            examples=[[{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}]],
        ),
    ] = Field(default_factory=list)
    resources: Annotated[
        Resources | None,
        Field(
            description="CPU and memory of each pod at this edge.",
            examples=[{"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}],
        ),
        unset("those of the service's `api.resources`"),
    ] = None
