"""Which images an ImagePrecache means: its queries, and what to make of the answers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imageservice.api.v1alpha1 import ImagePrecacheSpec
from imageservice.found_images import Found, FoundImage

MOST_IMAGES = 1000
"""How many images one ImagePrecache may mean, all in all."""
ACTIVE = "active"


@dataclass(frozen=True)
class Wanted:
    """The images that are meant and are there, in the order of the spec; and what is not there, in words."""

    images: tuple[FoundImage, ...]
    missing: tuple[str, ...] = ()
    truncated: bool = False


def queries(spec: ImagePrecacheSpec) -> list[Mapping[str, Any]]:
    """Return what to ask for: one query for each image of the spec, and one for its selector."""
    asked: list[Mapping[str, Any]] = []
    for image in spec.images:
        if image.id is not None:
            asked.append({"id": image.id})
        else:
            asked.append({"name": image.name} | ({"owner": image.owner} if image.owner else {}))
    if spec.image_selector is not None:
        chosen = spec.image_selector
        query: dict[str, Any] = {"tags": list(chosen.tags), "properties": dict(chosen.properties)}
        asked.append(query | ({"owner": chosen.owner} if chosen.owner else {}))
    return asked


def wanted(spec: ImagePrecacheSpec, answers: Sequence[Found]) -> Wanted:
    """Return what the answers to `queries` mean."""
    found: dict[str, FoundImage] = {}
    missing: list[str] = []
    for image, answer in zip(spec.images, answers, strict=False):
        active = [one for one in answer.images if one.status == ACTIVE]
        if active:
            found.setdefault(active[0].id, active[0])
        elif answer.images:
            missing.append(f"{image.id} ({answer.images[0].status})")
        else:
            missing.append(image.id or f"`{image.name}`")
    truncated = False
    for answer in answers[len(spec.images) :]:
        for one in answer.images:
            found.setdefault(one.id, one)
        truncated = truncated or answer.truncated
    chosen = tuple(found.values())[:MOST_IMAGES]
    return Wanted(chosen, tuple(missing), truncated or len(found) > MOST_IMAGES)
