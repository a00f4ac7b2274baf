"""The Secret with the files that the pods of a CachePolicy run with: Glance's, and the agent with its settings."""

import json
from collections.abc import Iterable
from importlib import resources

from imageservice.manifest import Manifest
from imageservice.render import glance_config
from imageservice.render.agent_token import token_file
from imageservice.render.cache_inputs import CacheInputs, size_in_bytes
from imageservice.render.cache_labels import cache_metadata
from imageservice.render.glance_config import NodeCache
from imageservice.render.labels import COMPONENT_CACHE_CONFIG
from imageservice.render.ports import AGENT_PORT
from imageservice.render.secrets import name_by_content, secret_with

CACHE_ROOT = "/var/lib/glance-cache"
"""Where the volume with the cache is mounted."""
CACHE_DIR = f"{CACHE_ROOT}/images"
STATE_DIR = f"{CACHE_ROOT}/state"
"""What the agent has to know after a restart: what is wanted, and what failed."""

PROGRAM = "prefetcher"
"""The agent's package, in the directory of the configuration."""
SETTINGS = "prefetcher.json"
GLANCE_PRUNES_AT = 2
"""So many times `maxSize` Glance itself would let in before a request to prune does anything: the agent prunes."""


def cache_config_secret(inputs: CacheInputs) -> Manifest:
    """Build the config Secret of a CachePolicy; like that of a site it is immutable, and named by its content.

    Raises ValueError where a value cannot stand in an ini file.
    """
    files = {
        **glance_config.config_files(inputs.site, node_cache(inputs)),
        **_programs(),
        SETTINGS: json.dumps(agent_settings(inputs), indent=1),
        **token_file(inputs.site),
    }
    name = name_by_content(inputs.name, inputs.uid, COMPONENT_CACHE_CONFIG, files)
    return secret_with(cache_metadata(inputs, name, COMPONENT_CACHE_CONFIG), files)


def node_cache(inputs: CacheInputs) -> NodeCache:
    """Return the cache of each node as Glance knows it."""
    return NodeCache(CACHE_DIR, GLANCE_PRUNES_AT * size_in_bytes(inputs.spec.max_size))


def agent_settings(inputs: CacheInputs) -> Manifest:
    """Return the content of `prefetcher.json`."""
    spec = inputs.spec
    return {
        "port": AGENT_PORT,
        "maxBytes": size_in_bytes(spec.max_size),
        "highWatermarkPercent": spec.high_watermark_percent,
        "lowWatermarkPercent": spec.low_watermark_percent,
        "pruneIntervalSeconds": spec.prune_interval_seconds,
        "prefetchIntervalSeconds": spec.prefetch_interval_seconds,
        "stallSeconds": spec.stall_time_seconds,
        "bytesPerSecond": None if spec.bandwidth_limit is None else size_in_bytes(spec.bandwidth_limit),
        "glanceConfigDir": glance_config.CONFIG_DIR,
        "cacheDir": CACHE_DIR,
        "stateDir": STATE_DIR,
        "release": inputs.site.release.name,
    }


def _programs() -> dict[str, str]:
    """Return the agent's modules, each by its key in the Secret, which may have no slash in it."""
    folder = resources.files("imageservice").joinpath(PROGRAM)
    return {
        f"{PROGRAM}.{module.name}": module.read_text("utf-8")
        for module in sorted(folder.iterdir(), key=lambda found: found.name)
        if module.name.endswith(".py")
    }


def config_items(keys: Iterable[str]) -> list[Manifest]:
    """Return where the keys of the Secret are in the directory: the modules of the agent in one of their own."""
    return [
        {"key": key, "path": key.replace(f"{PROGRAM}.", f"{PROGRAM}/", 1) if _is_module(key) else key} for key in keys
    ]


def _is_module(key: str) -> bool:
    return key.startswith(f"{PROGRAM}.") and key.endswith(".py")
