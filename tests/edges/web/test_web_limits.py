"""Buckets that fill at a steady rate."""

import pytest

from probe.web.limits import Buckets, client_of


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        """Tell the time."""
        return self.now_us


def test_a_bucket_is_emptied_and_fills_again() -> None:
    """So many at once, then as many as the rate gives, and never more than it holds."""
    time = Time()
    buckets = Buckets(per_s=2, at_once=3, monotonic_us=time)
    assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    time.now_us += 250_000
    assert buckets.wait_s("a") == 0.25
    time.now_us += 250_000
    assert [buckets.wait_s("a"), buckets.wait_s("b")] == [0, 0]
    time.now_us += 3_600_000_000
    assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_the_table_of_buckets_is_bounded() -> None:
    """Of too many clients the one that was longest silent is forgotten."""
    buckets = Buckets(per_s=0.001, at_once=1, buckets_max=10, monotonic_us=Time())
    assert buckets.wait_s("first") == 0
    for number in range(9):
        buckets.wait_s(number)
    assert buckets.wait_s("first") > 0
    for number in range(1_000):
        buckets.wait_s(f"other {number}")
    assert len(buckets) == 10
    assert buckets.wait_s("first") == 0


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2%eth0", "2001:db8::/64"),
        (None, ""),
    ],
)
def test_whom_a_request_is_counted_for(address: str | None, client: str) -> None:
    """Nobody gets more by having a network of addresses."""
    assert client_of(address) == client
