"""The experiments: what is broken, how, and who is aimed at meanwhile."""

from typing import TYPE_CHECKING, Final

from probe.core.model import Surface

if TYPE_CHECKING:
    from tests.system.network.network_run import Aim, Deed, Experiment
    from tests.system.network.network_servers import GONE_HOST, PROVIDER_HOST, Manner, Staff
    from tests.system.network.network_world import (
        DEFAULT_ROUTES,
        OTHER_RESOLVER_ADDRESS,
        PROBER,
        PROVIDER_ADDRESSES,
        PROVIDER_ADDRESSES_6,
        ROUTER,
        World,
    )
else:
    from network_run import Aim, Deed, Experiment
    from network_servers import GONE_HOST, PROVIDER_HOST, Manner, Staff
    from network_world import (
        DEFAULT_ROUTES,
        OTHER_RESOLVER_ADDRESS,
        PROBER,
        PROVIDER_ADDRESSES,
        PROVIDER_ADDRESSES_6,
        ROUTER,
        World,
    )

# No segment of TCP is longer than this where large packets vanish, so that a message or a certificate makes several
# large ones with a small one at the end, as on a real path.
SEGMENT_BYTES_MAX: Final = 1000
_VANISHING_BYTES_MIN: Final = 900
_MESSAGE_BYTES: Final = 3000

TO_PROVIDER, FROM_PROVIDER = 'oifname "provider"', 'iifname "provider"'
OUTWARD, INWARD = 'iifname "prober"', 'oifname "prober"'
_LARGE: Final = f"meta length > {_VANISHING_BYTES_MIN}"
# Connection tracking that forgot its connections: whatever carries data on one is answered by a reset.
_DATA: Final = "tcp flags & psh == psh"


def _rules(*rules: str) -> Deed:
    """Give a deed that puts rules into the router."""

    def inject(world: World, staff: Staff) -> None:
        world.run(ROUTER, "nft", "-f", "-", text="".join(f"add rule inet fault transit {rule}\n" for rule in rules))

    return inject


def _no_rules(world: World, staff: Staff) -> None:
    world.run(ROUTER, "nft", "flush", "chain", "inet", "fault", "transit")


def _prober(*commands: str) -> Deed:
    """Give a deed that changes the prober's own links and routes."""

    def change(world: World, staff: Staff) -> None:
        world.run(PROBER, "ip", "-batch", "-", text="\n".join(commands) + "\n")

    return change


def _resolver(manner: Manner) -> Deed:
    return lambda world, staff: staff.tell(manner)


def _delay(api_s: float, smtp_s: float) -> Deed:
    def inject(world: World, staff: Staff) -> None:
        staff.delay(Surface.API, api_s)
        staff.delay(Surface.SMTP, smtp_s)

    return inject


def _through_router(name: str, *rules: str, **more: object) -> Experiment:
    return Experiment(name=name, inject=_rules(*rules), heal=_no_rules, **more)  # type: ignore[arg-type]


def _with_resolver(manner: Manner, name: str = "", resolvers: tuple[str, ...] = (), *more: Aim) -> Experiment:
    """Aim at the provider by name, and for comparison by address; the controls are asked by address."""
    return Experiment(
        name=name or f"resolver-{manner}",
        inject=_resolver(manner),
        heal=_resolver("honest"),
        aims=(
            Aim(name="named", host=PROVIDER_HOST),
            Aim(name="addressed"),
            Aim(name="kept", mode="kept", host=PROVIDER_HOST),
            *more,
        ),
        resolvers=resolvers,
    )


_BIG: Final = (
    Aim(name="kept", mode="kept", size_bytes=_MESSAGE_BYTES),
    Aim(name="fresh", size_bytes=_MESSAGE_BYTES),
    Aim(name="small", mode="kept"),
)
_SIX: Final = PROVIDER_ADDRESSES_6[0]

EXPERIMENTS: Final = (
    Experiment(
        name="link-down",
        inject=_prober("link set wire down"),
        heal=_prober("link set wire up", "addr replace 2001:db8::2/64 dev wire nodad", *DEFAULT_ROUTES),
    ),
    Experiment(
        name="route-gone",
        inject=_prober("route del default via 10.0.0.1", "route del default via 2001:db8::1"),
        heal=_prober(*DEFAULT_ROUTES),
    ),
    _through_router("loss", "numgen random mod 100 < 30 drop"),
    _through_router("blackhole", f"{TO_PROVIDER} drop", f"{FROM_PROVIDER} drop", spares_controls=True),
    Experiment(name="slow", inject=_delay(5.0, 0.5), heal=lambda world, staff: staff.hurry(), spares_controls=True),
    _through_router(
        "one-address-dead",
        f"ip daddr {PROVIDER_ADDRESSES[0]} drop",
        aims=(Aim(name="kept", mode="kept", host=PROVIDER_HOST), Aim(name="fresh", host=PROVIDER_HOST)),
        provider_addresses=PROVIDER_ADDRESSES,
    ),
    _through_router(
        "ipv6-dropped",
        f"ip6 daddr {_SIX} drop",
        aims=(Aim(name="kept", mode="kept", host=PROVIDER_HOST), Aim(name="fresh", host=PROVIDER_HOST)),
        provider_addresses=(*PROVIDER_ADDRESSES[:1], _SIX),
    ),
    _through_router(
        "ipv6-rejected",
        f"ip6 daddr {_SIX} reject with icmpv6 type no-route",
        aims=(Aim(name="kept", mode="kept", host=PROVIDER_HOST), Aim(name="fresh", host=PROVIDER_HOST)),
        provider_addresses=(*PROVIDER_ADDRESSES[:1], _SIX),
    ),
    _through_router("mtu-outward-all", f"{OUTWARD} {_LARGE} drop", aims=_BIG),
    _through_router("mtu-outward-provider", f"{TO_PROVIDER} {_LARGE} drop", aims=_BIG),
    _through_router("mtu-inward-all", f"{INWARD} {_LARGE} drop"),
    _through_router("mtu-inward-provider", f"{FROM_PROVIDER} {_LARGE} drop"),
    _through_router("resets-all", f"{OUTWARD} {_DATA} reject with tcp reset"),
    _through_router("resets-provider", f"{TO_PROVIDER} {_DATA} reject with tcp reset"),
    _with_resolver("silent"),
    _with_resolver("refuses"),
    _with_resolver("lies"),
    _with_resolver("lies", "resolver-checked", (OTHER_RESOLVER_ADDRESS,), Aim(name="gone", host=GONE_HOST)),
    _with_resolver("slow"),
)
