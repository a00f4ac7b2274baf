"""The Secret with the files that Glance runs with."""

from imageservice.manifest import Manifest
from imageservice.render.glance_config import config_files
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import COMPONENT_CONFIG
from imageservice.render.secrets import immutable_secret


def config_secret(inputs: ImageServiceInputs) -> Manifest:
    """Build the config Secret.

    It is immutable and its name ends in a hash of its content: another config is another Secret, which rolls the pods,
    while pods of the older revision, and a rollback to it, keep the files that they started with.
    Raises ValueError where a value cannot stand in an ini file.
    """
    return immutable_secret(inputs, COMPONENT_CONFIG, config_files(inputs))
