"""The dashboard for the prober itself: can what it says be believed?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units

from grafana import look, prober_parts, queries
from grafana.frame import Frame, begin, fill
from grafana.panels import (
    About,
    Panel,
    Query,
    big_number,
    plain_number,
)
from grafana.queries import PROBER, TARGETS

FRAME = Frame(
    uid="sev1probe-prober",
    title="sev1probe: prober health",
    description="Whether the prober can be believed: its cadence, its ledger, its couriers, its clock.",
    since="now-6h",
    refresh="30s",
    annotation_step="1m",
)


def build() -> Dashboard:
    """Build the dashboard."""
    begun = begin(FRAME)
    states = [_state(), _behind(), _clock_state(), _couriers_failing(), _chain_problems(), _settings(), _version()]
    fill(begun, "", states)
    fill(begun, "Cadence", prober_parts.cadence())
    fill(begun, "Ledger", prober_parts.ledger())
    fill(begun, "Couriers", prober_parts.couriers())
    fill(begun, "Clock and scrapes", prober_parts.clock())
    return begun


def _state() -> Panel:
    return big_number(
        About(
            title="The prober",
            description="Scraped, not blind for any target, and its ledger written. Blind: no second of a target has "
            "been judged for longer than agreed.",
            unit=units.NoUnit,
            no_value="Not scraped",
            page="docs/watchdog.md",
            width=4,
            height=5,
        ),
        Query(queries.prober_state(), "", now=True),
    ).mappings(look.words(look.PROBER_WORDS))


def _behind() -> Panel:
    return big_number(
        About(
            title="Last judged second, ago",
            description="How far judging is behind. A second closes when its attempts have ended, at the latest after "
            "their timeout (10 s unless the settings say otherwise), and is seen with the next scrape.",
            unit=units.DurationSeconds,
            no_value="Not scraped",
            page="docs/watchdog.md",
            width=4,
            height=5,
        ),
        Query(f"time() - max by (target) (sev1probe_last_judged_second_timestamp_seconds{{{TARGETS}}} > 0)", now=True),
    ).thresholds(look.known(look.GOOD, (30, look.BETWEEN), (60, look.OURS)))


def _clock_state() -> Panel:
    return big_number(
        About(
            title="Clock",
            description="Whether the kernel says that the host's clock is synchronised. Seconds are named by this "
            "clock; the provider's logs are compared by those names.",
            unit=units.NoUnit,
            no_value="Not scraped",
            page="docs/limits.md",
            width=4,
            height=5,
        ),
        Query(f"sev1probe_clock_synchronised{{{PROBER}}}", "", now=True),
    ).mappings(look.yes_and_no(("synchronised", look.GOOD), ("not synchronised", look.OURS)))


def _couriers_failing() -> Panel:
    return big_number(
        About(
            title="Couriers failing",
            description="Couriers whose last try to tell people or their tools failed.",
            unit=units.NoUnit,
            no_value="There are no couriers (setting notify), or not scraped",
            page="docs/notifications.md",
            width=3,
            height=5,
        ),
        Query(f"sum(sev1probe_courier_failing{{{PROBER}}})", "", now=True),
    ).thresholds(look.known(look.GOOD, (1, look.OURS)))


def _chain_problems() -> Panel:
    return (
        big_number(
            About(
                title="Ledger's chain",
                description="Problems that the daemon found in the newest part of the ledger's hash chain at its "
                "start. All of the chain is checked by sev1probe ledger verify.",
                unit=units.NoUnit,
                no_value="Not scraped",
                page="deploy/runbooks/Sev1probeChainBroken.md",
                width=3,
                height=5,
            ),
            Query(f"sev1probe_ledger_chain_problems{{{PROBER}}}", "", now=True),
        )
        .mappings(look.words({0: ("holds", look.GOOD)}))
        .thresholds(look.known(look.GOOD, (1, look.OURS)))
    )


def _settings() -> Panel:
    return big_number(
        About(
            title="Settings",
            description="Whether the last load of the settings worked. If it did not, the ones before are still in "
            "force.",
            unit=units.NoUnit,
            no_value="Not scraped",
            page="docs/configuration.md",
            width=3,
            height=5,
        ),
        Query(f"sev1probe_config_last_reload_successful{{{PROBER}}}", "", now=True),
    ).mappings(look.yes_and_no(("in force", look.GOOD), ("last load refused", look.OURS)))


def _version() -> Panel:
    return plain_number(
        About(
            title="Loaded, ago",
            description="How long ago settings were last loaded with success, by the version of the program and the "
            "version of the rules that it judges by.",
            unit=units.DurationSeconds,
            no_value="Not scraped",
            page="docs/configuration.md",
            width=3,
            height=5,
        ),
        Query(
            f"(time() - sev1probe_config_last_reload_success_timestamp_seconds{{{PROBER}}}) * on (job, instance) "
            f"group_left (version, rules_version) sev1probe_build_info{{{PROBER}}}",
            "{{version}}, rules {{rules_version}}",
            now=True,
        ),
    )
