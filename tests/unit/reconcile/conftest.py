"""What every reconcile of these tests finds: a Keystone that takes the service user."""

import pytest

from imageservice.reconcile import imageservice, writing
from imageservice.status.conditions import true


@pytest.fixture(autouse=True)
def _keystone_takes_the_user(monkeypatch):
    async def taken(spec, credentials):
        return true("IdentityReady", "Authenticated")

    monkeypatch.setattr(imageservice, "identity_ready", taken)


@pytest.fixture
def written_at_once(monkeypatch):
    """No pass waits for the clock on the wall before it writes a status."""
    monkeypatch.setattr(writing, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(writing, "COUNTS_SECONDS", 0.0)
