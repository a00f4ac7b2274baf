"""The pace of requests."""

import pytest

from imageservice.runtime.limits import TokenBucket


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    bucket = TokenBucket(rate=10, burst=3, clock=lambda: 0.0)
    assert [bucket.reserve() for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])


def test_quiet_time_fills_the_bucket_up_to_the_burst_and_no_further() -> None:
    now = 0.0
    bucket = TokenBucket(rate=10, burst=3, clock=lambda: now)
    for _ in range(5):
        bucket.reserve()
    now = 100.0
    assert [bucket.reserve() for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])
