"""Settings from the environment."""

import logging

import pytest

from imageservice.runtime.settings import BadSettings, LeaseSettings, Settings


def read(**environment: str) -> Settings:
    return Settings.from_environment({f"IMAGE_SERVICE_OPERATOR_{name}": value for name, value in environment.items()})


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read()
    assert settings.namespaces == ()
    assert settings.glance_image("2026.1") == "imageservice.dev/glance:2026.1"
    assert (settings.lease.duration, settings.lease.renew_deadline, settings.lease.retry) == (15, 10, 2)
    assert settings.resync_seconds == 600


def test_every_setting_can_be_set() -> None:
    settings = read(
        NAMESPACES="a, b,a",
        WORKERS="3",
        RECONCILE_SECONDS="30",
        RESYNC_SECONDS="60",
        API_RATE="50",
        API_BURST="70",
        GLANCE_IMAGES="2025.1=registry:5000/glance:x, 2026.2=glance@sha256:ab",
        CLUSTER_DOMAIN="cluster.example",
        HEALTH_HOST="127.0.0.1",
        HEALTH_PORT="0",
        LOG_LEVEL="debug",
        LEASE_NAME="lease",
        LEASE_NAMESPACE="here",
        LEASE_DURATION_SECONDS="6",
        LEASE_RENEW_DEADLINE_SECONDS="4",
        LEASE_RETRY_SECONDS="1",
    )
    assert settings.namespaces == ("a", "b")
    assert (settings.workers, settings.reconcile_seconds, settings.resync_seconds) == (3, 30, 60)
    assert (settings.api_rate, settings.api_burst) == (50, 70)
    assert settings.glance_image("2025.1") == "registry:5000/glance:x"
    assert settings.glance_image("2026.2") == "glance@sha256:ab"
    assert settings.glance_image("2026.1") == "imageservice.dev/glance:2026.1"
    assert settings.cluster_domain == "cluster.example"
    assert (settings.health_host, settings.health_port) == ("127.0.0.1", 0)
    assert settings.log_level == logging.DEBUG
    assert (settings.lease.name, settings.lease.namespace) == ("lease", "here")
    assert (settings.lease.duration, settings.lease.renew_deadline, settings.lease.retry) == (6, 4, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("RESYNC_SECONDS", "-1"),
        ("RESYNC_SECONDS", "nan"),
        ("RECONCILE_SECONDS", "inf"),
        ("GLANCE_IMAGES", "2024.1=x"),
        ("GLANCE_IMAGES", "2026.1"),
        ("LOG_LEVEL", "loud"),
        ("HEALTH_PORT", "http"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadSettings, match=name):
        read(**{name: value})


def test_a_lease_that_could_be_held_twice_is_refused() -> None:
    with pytest.raises(BadSettings, match="duration"):
        LeaseSettings(duration=10, renew_deadline=10)


def test_two_processes_of_one_pod_are_not_taken_for_one_another() -> None:
    environment = {"POD_NAME": "operator-0", "POD_NAMESPACE": "system"}
    first, second = (Settings.from_environment(environment).lease for _ in range(2))
    assert first.identity != second.identity
    assert first.identity.startswith("operator-0_")
    assert first.namespace == "system"
