"""Network namespaces of one experiment: the prober, a router, the provider with its addresses, and two controls.

                               +-- provider side: 10.1.0.2 and .3, 2001:db8:1::2 and ::3
prober 10.0.0.2 --- router ----|
       2001:db8::2 (resolvers) +-- control side: 10.2.0.2 and 10.3.0.2
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

PROBER, ROUTER, PROVIDER, CONTROLS = "prober", "router", "provider", "controls"
PLACES: Final = (PROBER, ROUTER, PROVIDER, CONTROLS)
PROVIDER_ADDRESSES: Final = ("10.1.0.2", "10.1.0.3")
PROVIDER_ADDRESSES_6: Final = ("2001:db8:1::2", "2001:db8:1::3")
CONTROL_ADDRESSES: Final = ("10.2.0.2", "10.3.0.2")
RESOLVER_ADDRESS: Final = "10.0.0.1"
OTHER_RESOLVER_ADDRESS: Final = "10.1.0.1"  # beyond the prober's own link
DEFAULT_ROUTES: Final = (
    "route replace default via 10.0.0.1 advmss 1000",
    "route replace default via 2001:db8::1 advmss 1000",
)

_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET
_RESOLVERS: Final = Path("/etc/netns")
# No segment is merged or split on its way, so that the router sees packets of the size that a wire would carry.
_ONE_BY_ONE: Final = "gso_max_segs 1 gso_max_size 2000"
_ADDRESSES: Final = {
    PROBER: ["addr add 10.0.0.2/24 dev wire", "addr add 2001:db8::2/64 dev wire nodad", "link set wire up"],
    ROUTER: [
        "addr add 10.0.0.1/24 dev prober",
        "addr add 2001:db8::1/64 dev prober nodad",
        "addr add 10.1.0.1/24 dev provider",
        "addr add 2001:db8:1::1/64 dev provider nodad",
        "addr add 10.2.0.1/24 dev controls",
        "addr add 10.3.0.1/24 dev controls",
        "link set prober up",
        "link set provider up",
        "link set controls up",
    ],
    PROVIDER: [
        *[f"addr add {address}/24 dev wire" for address in PROVIDER_ADDRESSES],
        *[f"addr add {address}/64 dev wire nodad" for address in PROVIDER_ADDRESSES_6],
        "link set wire up",
        "route add default via 10.1.0.1 advmss 1000",
        "route add default via 2001:db8:1::1 advmss 1000",
    ],
    CONTROLS: [
        *[f"addr add {address}/24 dev wire" for address in CONTROL_ADDRESSES],
        "link set wire up",
        "route add default via 10.2.0.1 advmss 1000",
    ],
}
_RULES: Final = "table inet fault { chain transit { type filter hook forward priority 0; policy accept; }; }"

_libc = ctypes.CDLL(None, use_errno=True)
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The namespaces of one experiment; their names hold this process's number, so that runs never meet."""

    name: str

    def namespace(self, place: str) -> str:
        """Return the name of the namespace of one place."""
        return f"sev1probe-{os.getpid()}-{self.name}-{place}"

    def make(self) -> None:
        """Make the namespaces, their links, addresses, routes, and an empty table of faults in the router."""
        spaces = {place: self.namespace(place) for place in PLACES}
        _ip("-batch", "-", text="".join(f"netns add {space}\n" for space in spaces.values()))
        ends = (PROBER, PROVIDER, CONTROLS)
        links = [
            f"link add wire netns {spaces[end]} {_ONE_BY_ONE} type veth "
            f"peer name {end} netns {spaces[ROUTER]} {_ONE_BY_ONE}\n"
            for end in ends
        ]
        _ip("-batch", "-", text="".join(links))
        for place, lines in _ADDRESSES.items():
            more = DEFAULT_ROUTES if place == PROBER else ()
            _ip("-n", spaces[place], "-batch", "-", text="\n".join(["link set lo up", *lines, *more]) + "\n")
        forwarding = "net.ipv4.ip_forward=1\nnet.ipv6.conf.all.forwarding=1\n"
        self.run(ROUTER, "sysctl", "-q", "-p", "-", text=forwarding)
        self.run(ROUTER, "nft", "-f", "-", text=_RULES)
        folder = _RESOLVERS / spaces[PROBER]
        folder.mkdir(parents=True)
        (folder / "resolv.conf").write_text(f"nameserver {RESOLVER_ADDRESS}\n")

    def remove(self) -> None:
        """Remove whatever of it there is."""
        for place in PLACES:
            subprocess.run(["ip", "netns", "del", self.namespace(place)], capture_output=True, check=False)
        shutil.rmtree(_RESOLVERS / self.namespace(PROBER), ignore_errors=True)

    def command(self, place: str, *command: str) -> list[str]:
        """Return a command as it is run in one place."""
        return ["ip", "netns", "exec", self.namespace(place), *command]

    def run(self, place: str, *command: str, text: str = "") -> None:
        """Run a command in one place."""
        _run(self.command(place, *command), text)

    async def within(self, place: str, make: Callable[[], Awaitable[Made]]) -> Made:
        """Make something whose sockets belong to one place; this thread must do nothing else meanwhile."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        away = os.open(f"/run/netns/{self.namespace(place)}", os.O_RDONLY)
        try:
            _enter(away)
            return await make()
        finally:
            _enter(home)
            os.close(home)
            os.close(away)


def lacking() -> str:
    """Say what this machine lacks for experiments like these; "" if it has all."""
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("sysctl", "procps")):
        if shutil.which(program) is None:
            return f"needs {program} (Debian package {package})"
    space = f"sev1probe-{os.getpid()}-try"
    try:
        _run(["ip", "netns", "add", space])
        _run(["ip", "netns", "exec", space, "nft", "-f", "-"], _RULES)
    except AssertionError as error:
        return f"needs root and a kernel that makes network namespaces: {error}".splitlines()[0]
    finally:
        subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
    return ""


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*arguments: str, text: str = "") -> None:
    _run(["ip", *arguments], text)


def _run(command: list[str], text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
