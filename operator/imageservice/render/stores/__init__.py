"""What each type of store means to Glance: the options of its section, and the files with its credentials.

One module a type; the table here is the only place that knows them all. Options and their meaning are those of
glance_store's drivers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from imageservice.render.inputs import StoreInputs
from imageservice.render.stores import ceph, cinder, filesystem, s3, swift
from imageservice.render.stores.paths import DRIVER_FILES_DIR, OPTIONS_DIR


class Place(Enum):
    """Where the pods have the files of a store: its value is the directory."""

    DRIVER_FILES = DRIVER_FILES_DIR
    OPTIONS = OPTIONS_DIR


@dataclass(frozen=True)
class Rendering:
    """How a type of store is rendered.

    `section` returns the options that are not confidential, `files` file name -> text of what is. `restarts` are those
    of the files that Glance reads at its start alone, so that another content rolls the pods. `place` is None where a
    type has no files.
    """

    section: Callable[[StoreInputs], dict[str, str]]
    files: Callable[[StoreInputs], dict[str, str]]
    restarts: Callable[[StoreInputs], dict[str, str]]
    place: Place | None


def _none(_: StoreInputs) -> dict[str, str]:
    return {}


RENDERINGS: Mapping[str, Rendering] = {
    "Filesystem": Rendering(filesystem.section, _none, _none, None),
    "Ceph": Rendering(ceph.section, ceph.files, ceph.conf_file, Place.DRIVER_FILES),
    "S3": Rendering(s3.section, s3.files, s3.files, Place.OPTIONS),
    "Swift": Rendering(swift.section, swift.files, swift.files, Place.DRIVER_FILES),
    "Cinder": Rendering(cinder.section, cinder.files, cinder.files, Place.OPTIONS),
}
"""Type of an ImageStore -> how it is rendered."""


def section(store: StoreInputs) -> dict[str, str]:
    """Return the options of the store's section of glance-api.conf; nothing confidential, `spec.extraConfig` last."""
    options = {"store_description": store.spec.description} if store.spec.description else {}
    return {**options, **RENDERINGS[store.spec.type].section(store), **dict(sorted(store.spec.extra_config.items()))}


def files(store: StoreInputs) -> dict[str, str]:
    """Return file name -> text of the store's credentials; empty where it has none. All names begin with its id.

    Raises ValueError, without a value in its message, where a credential cannot stand in its file.
    """
    return RENDERINGS[store.spec.type].files(store)


def restarting_files(store: StoreInputs) -> dict[str, str]:
    """Return those of `files` that Glance reads only at its start."""
    return RENDERINGS[store.spec.type].restarts(store)


def place(store: StoreInputs) -> Place | None:
    """Return where the pods have `files`; None where there are none."""
    return RENDERINGS[store.spec.type].place
