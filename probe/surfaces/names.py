"""What other resolvers say of a name that our own resolver calls absent.

A resolver of ours that lies about the provider's name alone (a response policy, a poisoned cache, a zone of the same
name within our network) would otherwise lay its lie at the provider's door, beside controls that are asked by address.
So the absence of a name counts only where a resolver that is independent of ours confirms it and none contradicts
(provider reference, section 5: "seen by two or more resolvers"). Asked only then, never instead of our own.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import aiodns
import pycares

from probe.core.model import Cause
from probe.surfaces.watch import Trouble

ANSWER_S: Final = 1.0  # for each of the others; all are asked at once
# An answer serves all attempts that need it for so long, so that many targets of one name ask no more than one does.
ASKED_AGAIN_S: Final = 1.0

# The zone's servers answered, and the answer is no. Everything else says more about a resolver than about the zone.
_MISSING_BY_ERROR: Final = {
    aiodns.error.ARES_ENOTFOUND: "does not exist",
    aiodns.error.ARES_ENONAME: "does not exist",
    aiodns.error.ARES_ENODATA: "has no address",
}


def missing(error: aiodns.error.DNSError) -> str:
    """Say what a name lacks if that is what a resolver answered: "does not exist" or "has no address"; else ""."""
    return _MISSING_BY_ERROR.get(error.args[0], "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Which of the other resolvers called a name absent, which gave an address for it, and which said neither."""

    confirming: tuple[str, ...] = ()
    contradicting: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()

    def trouble(self, host: str, lacks: str) -> Trouble:
        """Say what the absence comes to that our own resolver reported."""
        if self.contradicting:
            verb = "has" if len(self.contradicting) == 1 else "have"
            words = f"our resolver says that {host} {lacks}, {_all(self.contradicting)} {verb} an address for it"
            return Trouble(Cause.RESOLVER, reply=words)
        if self.confirming:
            words = f"{host} {lacks}, say our own resolver and {_all(self.confirming)}"
            return Trouble(Cause.NAME_NOT_FOUND, reply=words)
        why = f"no answer from {_all(self.mute)}" if self.mute else "name others under resolvers"
        return Trouble(Cause.RESOLVER, reply=f"{host} {lacks}, says our own resolver alone; {why}")


@dataclass(slots=True)
class OtherResolvers:
    """Resolvers that are independent of our own; they are made when they are first needed."""

    addresses: tuple[str, ...] = ()  # "192.0.2.53", "192.0.2.53:5353", "2001:db8::53" or "[2001:db8::53]:5353"
    _made: dict[str, aiodns.DNSResolver] = field(default_factory=dict)
    _asked: dict[tuple[str, socket.AddressFamily], "asyncio.Task[Heard]"] = field(default_factory=dict)

    def name(self, addresses: Sequence[str]) -> None:
        """Ask these from now on; what is under way is answered by those that it was asked of."""
        wanted = tuple(dict.fromkeys(addresses))
        if wanted == self.addresses:
            return
        self.addresses = wanted
        self._made = {address: made for address, made in self._made.items() if address in wanted}
        self._asked = {}

    async def close(self) -> None:
        """End what is under way."""
        made, self._made, self._asked = self._made, {}, {}
        for resolver in made.values():
            await resolver.close()

    async def absence(self, host: str, family: socket.AddressFamily, lacks: str) -> Trouble:
        """Return what it comes to that our own resolver says of a host that it `lacks` what a connection needs."""
        if not self.addresses:
            return Heard().trouble(host, lacks)
        key = (host, family)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.create_task(self._ask_all(host, family))
            asyncio.get_running_loop().call_later(ASKED_AGAIN_S, self._asked.pop, key, None)
        # Others may wait for the same answer, so an attempt whose time is over leaves it alone.
        return (await asyncio.shield(asked)).trouble(host, lacks)

    async def _ask_all(self, host: str, family: socket.AddressFamily) -> Heard:
        addresses = self.addresses
        said = await asyncio.gather(*(self._ask(address, host, family) for address in addresses))
        return Heard(
            confirming=tuple(a for a, exists in zip(addresses, said, strict=True) if exists is False),
            contradicting=tuple(a for a, exists in zip(addresses, said, strict=True) if exists),
            mute=tuple(a for a, exists in zip(addresses, said, strict=True) if exists is None),
        )

    async def _ask(self, address: str, host: str, family: socket.AddressFamily) -> bool | None:
        """Say whether a host has an address by one resolver; None if it doesn't say."""
        try:
            resolver = self._made.get(address) or self._make(address)
            async with asyncio.timeout(ANSWER_S):
                # With a dot at its end a name is asked as it is: this host's search list is nobody else's business.
                await resolver.getaddrinfo(f"{host.rstrip('.')}.", family=family, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            return False if missing(error) else None
        except (TimeoutError, pycares.AresError):
            return None
        return True

    def _make(self, address: str) -> aiodns.DNSResolver:
        # Asked over the network only: this host's own table of names is no second opinion.
        made = aiodns.DNSResolver(nameservers=[address], timeout=ANSWER_S, tries=1, lookups="b")
        self._made[address] = made
        return made


def _all(addresses: Sequence[str]) -> str:
    return " and ".join(addresses)
