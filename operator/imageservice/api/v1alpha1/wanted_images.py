"""Which images are wanted: one by one, or by what they have in common."""

from typing import Annotated, ClassVar

from pydantic import Field

from imageservice.api.markers import LIST_SET, Cel, Pattern, map_keys, unset
from imageservice.api.v1alpha1.common import ON_ONE_LINE, ApiModel, Line

IMAGE_ID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""The id of an image as Glance makes it: names of files and rows of the cache are made of it."""

ImageID = Annotated[
    str,
    Field(min_length=36, max_length=36),
    Pattern(
        IMAGE_ID,
        "must be the id of an image: a UUID in lower case, like 3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54",
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=255), Line]

Owner = Annotated[
    Name | None,
    Field(
        description="Id of the project whose images are meant, of any visibility.",
        examples=["5f1c3d6e8a9b4c2d9e0f1a2b3c4d5e6f"],
    ),
    unset("public images alone, of any project: anybody could give an image of their own the same name or tag"),
]


class WantedImage(ApiModel):
    """One image, by its id or by its name."""

    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "has(self.id) != has(self.name)",
            "either `id` or `name` must be set, and not both",
            check=lambda image: (image.id is None) != (image.name is None),
        ),
        Cel(
            "!has(self.owner) || has(self.name)",
            "`owner` must be set only beside `name`: an id means one image, whoever owns it",
            field_path=".owner",
            reason="FieldValueForbidden",
            check=lambda image: image.owner is None or image.name is not None,
        ),
    )

    id: Annotated[
        ImageID | None,
        Field(
            description="Id of the image, of any owner and visibility.",
            examples=["3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54"],
        ),
        unset("the image is named by `name`"),
    ] = None
    name: Annotated[
        Name | None,
        Field(
            description="Name of the image. Of several active ones the newest is meant, from the moment that it is "
            "there.",
            examples=["ubuntu-26.04"],
        ),
        unset("the image is named by `id`"),
    ] = None
    owner: Owner = None


class ImageSelector(ApiModel):
    """All active images that have these tags and these properties, at most 500 of them, the newest first."""

    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "(has(self.tags) && size(self.tags) > 0) || (has(self.properties) && size(self.properties) > 0)",
            "`tags` or `properties` must be set: an empty selector would mean every image",
            reason="FieldValueRequired",
            check=lambda selector: bool(selector.tags or selector.properties),
        ),
    )

    tags: Annotated[
        list[Name],
        Field(max_length=16, description="Tags that an image must have, all of them.", examples=[["golden"]]),
        unset("none"),
        LIST_SET,
    ] = Field(default_factory=list)
    properties: Annotated[
        dict[str, Annotated[str, Field(max_length=255), Line]],
        Field(
            max_length=16,
            description="Properties that an image must have, with these values.",
            examples=[{"os_distro": "ubuntu"}],
        ),
        map_keys(f"^{ON_ONE_LINE}$", "each key must be the name of a property on one line"),
        Cel(
            "self.all(key, size(key) >= 1 && size(key) <= 255)",
            "each key must have from 1 to 255 characters",
            check=lambda properties: all(1 <= len(key) <= 255 for key in properties),
        ),
        unset("none"),
    ] = Field(default_factory=dict)
    owner: Owner = None
