"""What the operator tells the agent: a file beside its programs, and the environment of its container."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
"""Not resolved: the directory behind a mounted Secret changes its name with its content."""
SETTINGS = HERE.parent / "prefetcher.json"
TOKEN = HERE.parent / "agent-token"


@dataclass(frozen=True)
class Settings:
    """The file `prefetcher.json`; bytes, seconds and percents as the names say, no rate is as fast as it can."""

    port: int
    max_bytes: int
    high_watermark_percent: int
    low_watermark_percent: int
    prune_interval_seconds: float
    prefetch_interval_seconds: float
    stall_seconds: float
    bytes_per_second: int | None
    glance_config_dir: str
    cache_dir: Path
    state_dir: Path
    release: str
    node: str
    pod_ips: str
    token: str


def read_settings(
    variables: Mapping[str, str] = os.environ, settings: Path = SETTINGS, token: Path = TOKEN
) -> Settings:
    """Read what there is; raise OSError, KeyError or ValueError where it cannot be used."""
    given = json.loads(settings.read_text("utf-8"))
    secret = token.read_text("utf-8").strip()
    if not secret:
        raise ValueError("the token is empty")
    return Settings(
        port=given["port"],
        max_bytes=given["maxBytes"],
        high_watermark_percent=given["highWatermarkPercent"],
        low_watermark_percent=given["lowWatermarkPercent"],
        prune_interval_seconds=given["pruneIntervalSeconds"],
        prefetch_interval_seconds=given["prefetchIntervalSeconds"],
        stall_seconds=given["stallSeconds"],
        bytes_per_second=given["bytesPerSecond"],
        glance_config_dir=given["glanceConfigDir"],
        cache_dir=Path(given["cacheDir"]),
        state_dir=Path(given["stateDir"]),
        release=given["release"],
        node=variables["NODE_NAME"],
        pod_ips=variables["POD_IPS"],
        token=secret,
    )
