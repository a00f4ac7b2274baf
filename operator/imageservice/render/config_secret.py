"""The Secret with the files that the containers of the API pods run with."""

from imageservice.manifest import Manifest
from imageservice.render import glance_config
from imageservice.render.agent_token import token_file
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import COMPONENT_CONFIG
from imageservice.render.secrets import immutable_secret
from imageservice.render.store_monitor import monitor_files, monitored


def config_secret(inputs: ImageServiceInputs) -> Manifest:
    """Build the config Secret.

    It is immutable and its name ends in a hash of its content: another config is another Secret, which rolls the pods,
    while pods of the older revision, and a rollback to it, keep the files that they started with.
    Raises ValueError where a value cannot stand in an ini file.
    """
    stores = monitored(glance_config.in_order(inputs))
    files = {**glance_config.config_files(inputs), **monitor_files(stores), **token_file(inputs)}
    return immutable_secret(inputs, COMPONENT_CONFIG, files)
