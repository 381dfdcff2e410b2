"""How much one client may ask for: buckets that fill at a steady rate and are emptied by requests."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from probe import clock

US_PER_S: Final = 1_000_000
ADDRESS_REQUESTS_PER_S: Final = 100.0
ADDRESS_REQUESTS_AT_ONCE: Final = 200
TOKEN_REQUESTS_PER_S: Final = 50.0
TOKEN_REQUESTS_AT_ONCE: Final = 100
BUCKETS_MAX: Final = 1_000
IPV6_NETWORK_BITS: Final = 64  # what one customer of a network is given at the least


@dataclass(slots=True)
class _Bucket:
    left: float
    at_us: int


class Buckets:
    """One bucket for each client; of too many the one that was longest out of use is forgotten, and so full again."""

    def __init__(
        self,
        *,
        per_s: float,
        at_once: int,
        buckets_max: int = BUCKETS_MAX,
        monotonic_us: Callable[[], int] = clock.monotonic_us,
    ) -> None:
        self._per_us = per_s / US_PER_S
        self._at_once = at_once
        self._buckets_max = buckets_max
        self._monotonic_us = monotonic_us
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, client: Hashable) -> float:
        """Take one request out of a client's bucket and return 0; if it is empty, return in how long it is not."""
        now_us = self._monotonic_us()
        bucket = self._buckets.setdefault(client, _Bucket(float(self._at_once), now_us))
        self._buckets.move_to_end(client)
        while len(self._buckets) > self._buckets_max:
            self._buckets.popitem(last=False)
        bucket.left = min(float(self._at_once), bucket.left + (now_us - bucket.at_us) * self._per_us)
        bucket.at_us = now_us
        if bucket.left < 1:
            return (1 - bucket.left) / self._per_us / US_PER_S
        bucket.left -= 1
        return 0.0


def client_of(address: str | None) -> str:
    """Name whom an address is counted for: an IPv4 address alone, an IPv6 address with all of its network."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_NETWORK_BITS), strict=False))
