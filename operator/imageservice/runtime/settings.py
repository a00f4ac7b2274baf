"""The settings of the operator process, all from its environment (`IMAGE_SERVICE_OPERATOR_*`), checked at the start."""

import logging
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from imageservice.releases import RELEASES

PREFIX = "IMAGE_SERVICE_OPERATOR_"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_Value = TypeVar("_Value")


class BadSettings(Exception):  # noqa: N818 - names what is wrong
    """A setting cannot be read; the message says which and what is allowed."""


@dataclass(frozen=True)
class LeaseSettings:
    """Which Lease elects the leader, and how. Times in seconds; the defaults are those of Kubernetes' own components.

    `duration`: after that long without a renewal, as they see it, others take over. `renew_deadline`: after that long
    without one the leader stops writing. `retry`: pause between renewals, and between looks at the leader's.
    """

    name: str = "image-service-operator"
    namespace: str = "default"
    identity: str = "image-service-operator"
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > self.retry > 0:
            raise BadSettings(
                f"The lease needs duration > renew deadline > retry > 0, not {self.duration}, {self.renew_deadline}, "
                f"{self.retry} (seconds)."
            )


@dataclass(frozen=True)
class Settings:
    """All settings. Times in seconds.

    `namespaces`: empty for the whole cluster. `resync_seconds`: how often a settled object is looked at all the same.
    `glance_images`: image by release name, for releases whose built-in default is not to be used.
    `api_rate`, `api_burst`: requests to the API server a second, lasting and at once.
    `monitor_url`: where the store monitor behind a Service is reached; to be set for an operator outside the cluster.
    `agent_url`: the same of the agent of a node's cache, by the address of its pod.
    """

    namespaces: tuple[str, ...] = ()
    workers: int = 10
    reconcile_seconds: float = 60.0
    resync_seconds: float = 600.0
    api_rate: float = 250.0
    api_burst: int = 500
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    glance_images: Mapping[str, str] = field(default_factory=dict)
    cluster_domain: str = "cluster.local"
    monitor_url: str = "http://{service}.{namespace}.svc.{domain}:9293"
    agent_url: str = "http://{address}:9294"
    health_host: str | None = None
    health_port: int = 8080
    log_level: int = logging.INFO

    def glance_image(self, release: str) -> str:
        """Return the image for a release where the ImageService names none. Raise KeyError for an unknown release."""
        return self.glance_images.get(release) or RELEASES[release].default_image

    def monitor(self, service: str, namespace: str) -> str:
        """Return the URL of the store monitor behind a Service."""
        return self.monitor_url.format(service=service, namespace=namespace, domain=self.cluster_domain)

    def agent(self, address: str, node: str, policy: str, namespace: str) -> str:
        """Return the URL of the agent in the pod with this IP address, on a node of a CachePolicy."""
        host = f"[{address}]" if ":" in address else address
        return self.agent_url.format(address=host, node=node, policy=policy, namespace=namespace)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings. Raise BadSettings on a value that cannot be meant."""
        take = _Reader(environment).take
        lease = LeaseSettings(
            name=take("LEASE_NAME", str, LeaseSettings.name),
            namespace=take("LEASE_NAMESPACE", str, environment.get("POD_NAMESPACE") or _own_namespace()),
            identity=_identity(environment),
            duration=take("LEASE_DURATION_SECONDS", _positive(float), LeaseSettings.duration),
            renew_deadline=take("LEASE_RENEW_DEADLINE_SECONDS", _positive(float), LeaseSettings.renew_deadline),
            retry=take("LEASE_RETRY_SECONDS", _positive(float), LeaseSettings.retry),
        )
        return cls(
            namespaces=take("NAMESPACES", _words, cls.namespaces),
            workers=take("WORKERS", _positive(int), cls.workers),
            reconcile_seconds=take("RECONCILE_SECONDS", _positive(float), cls.reconcile_seconds),
            resync_seconds=take("RESYNC_SECONDS", _positive(float), cls.resync_seconds),
            api_rate=take("API_RATE", _positive(float), cls.api_rate),
            api_burst=take("API_BURST", _positive(int), cls.api_burst),
            lease=lease,
            glance_images=take("GLANCE_IMAGES", _images, {}),
            cluster_domain=take("CLUSTER_DOMAIN", str, cls.cluster_domain),
            monitor_url=take("MONITOR_URL", _url_template("service", "namespace", "domain"), cls.monitor_url),
            agent_url=take("AGENT_URL", _url_template("address", "node", "policy", "namespace"), cls.agent_url),
            health_host=take("HEALTH_HOST", str, cls.health_host),
            health_port=take("HEALTH_PORT", int, cls.health_port),
            log_level=take("LOG_LEVEL", _log_level, cls.log_level),
        )


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def take(self, name: str, parse: Callable[[str], _Value], default: _Value) -> _Value:
        """Return the value of the variable; the default where it is absent or empty."""
        text = self._environment.get(PREFIX + name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            raise BadSettings(f"{PREFIX}{name}={text!r}: {error}") from None


def _positive(number: Callable[[str], Any]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        value = number(text)
        if not 0 < value < float("inf"):
            raise ValueError("it must be more than 0")
        return value

    return parse


def _words(text: str) -> tuple[str, ...]:
    """Parse `a,b`: in order, each once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _images(text: str) -> Mapping[str, str]:
    """Parse `2025.1=image,2025.2=image`."""
    images = {}
    for entry in _words(text):
        release, _, image = entry.partition("=")
        if release not in RELEASES or not image:
            raise ValueError(f"{entry!r} is not of the form RELEASE=IMAGE with a release of {', '.join(RELEASES)}")
        images[release] = image
    return images


def _url_template(*fields: str) -> Callable[[str], str]:
    """Return what parses a URL with these fields in braces."""

    def parse(text: str) -> str:
        try:
            text.format(**dict.fromkeys(fields, ""))
        except (KeyError, IndexError, ValueError):
            named = [f"{{{field}}}" for field in fields]
            raise ValueError(f"its fields must be among {', '.join(named[:-1])} and {named[-1]}") from None
        return text

    return parse


def _log_level(text: str) -> int:
    levels = {name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR")}
    if text.upper() not in levels:
        raise ValueError(f"it must be one of {', '.join(levels)}")
    return int(levels[text.upper()])


def _own_namespace() -> str:
    """Return the namespace of this pod; `default` outside of a cluster."""
    try:
        return _NAMESPACE_FILE.read_text().strip() or "default"
    except OSError:
        return "default"


def _identity(environment: Mapping[str, str]) -> str:
    """Return a name for this process that no other has had: a restarted container must not pass for its predecessor."""
    return f"{environment.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4()}"
