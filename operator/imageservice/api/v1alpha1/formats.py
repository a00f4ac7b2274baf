"""The formats that images may have, in Glance's own words."""

from typing import Annotated, Literal

from pydantic import Field

from imageservice.api.markers import LIST_SET, unset
from imageservice.api.v1alpha1.common import ApiModel

DiskFormat = Literal["ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"]
"""What is in the data of an image: all disk formats that Glance knows."""

ContainerFormat = Literal["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"]
"""What is around the data of an image: all container formats that Glance knows."""


class Formats(ApiModel):
    """The formats that images may have. An image of another format cannot be created (HTTP 400)."""

    disk: Annotated[
        Annotated[list[DiskFormat], Field(min_length=1, max_length=11), LIST_SET] | None,
        Field(
            description="Disk formats that images may have (Glance option disk_formats). Where images are converted, "
            "the format that they are converted to must be among them. Images of the past keep theirs.",
            examples=[["raw", "qcow2", "iso"]],
        ),
        unset("all that Glance knows"),
    ] = None
    container: Annotated[
        Annotated[list[ContainerFormat], Field(min_length=1, max_length=8), LIST_SET] | None,
        Field(
            description="Container formats that images may have (Glance option container_formats). Where images are "
            "converted, `bare` must be among them.",
            examples=[["bare"]],
        ),
        unset("all that Glance knows"),
    ] = None
