"""The parts of the prober: its cadence, its ledger, its couriers, its clock."""

from grafana_foundation_sdk.models import units

from grafana import look, queries
from grafana.panels import (
    About,
    Panel,
    Query,
    columns,
    half_and_most,
    limit_line,
    lines,
    merged,
    rows,
    stacked_bars,
    told_apart,
)
from grafana.queries import PROBER, TARGETS

# An attempt that begins later than this is no longer spread over its second as planned.
LATENESS_LIMIT_S = 0.1


def cadence() -> list[Panel]:
    """Show whether attempts begin in time and seconds are judged."""
    return [_lateness(), _in_flight(), _open_seconds()]


def ledger() -> list[Panel]:
    """Show whether the record is written."""
    return [_queue(), _commits(), _chain()]


def couriers() -> list[Panel]:
    """Show whether people and their tools are told."""
    return [_notifications(), _couriers()]


def clock() -> list[Panel]:
    """Show whether seconds have their right names, and what scrapes cost."""
    return [_clock_ahead(), _clock_errors(), _scrapes()]


def _lateness() -> Panel:
    histogram = "sev1probe_attempt_start_lateness_seconds"
    return limit_line(
        half_and_most(
            lines(
                About(
                    title="Attempts that begin late",
                    description="How long after their due instant attempts begin: half of them, and 99 %. Late ones "
                    "mean a busy host; they are judged all the same.",
                    unit=units.Seconds,
                    no_value="No attempt was made in this range",
                    page="docs/limits.md",
                    width=8,
                ),
                Query(queries.quantile(0.5, histogram, PROBER), "half"),
                Query(queries.quantile(0.99, histogram, PROBER), "99 %"),
            )
        ),
        LATENESS_LIMIT_S,
        look.OURS,
    )


def _in_flight() -> Panel:
    capped = f"sev1probe_attempts_capped_total{{{TARGETS}}}"
    return lines(
        About(
            title="Attempts in flight, and not made",
            description="In flight: begun and not ended; a hanging server fills this up. Capped: not made in the step "
            "because too many were in flight already, which is our failure and never theirs.",
            unit=units.Short,
            no_value="Not scraped in this range",
            page="docs/limits.md",
            width=8,
        ),
        Query(f"sum by (target, surface) (sev1probe_attempts_in_flight{{{TARGETS}}})", "{{target}} {{surface}}"),
        Query(f"sum by (target, surface) {queries.in_step(capped)} >= 0", "{{target}} {{surface}} capped"),
    )


def _open_seconds() -> Panel:
    panel = lines(
        About(
            title="Seconds that are not judged yet",
            description="Open: begun and not judged, of the target with the most; about the timeout while a server "
            "hangs. Unrecorded: judged and not in the ledger yet, of all targets.",
            unit=units.Short,
            no_value="Not scraped in this range",
            page="docs/limits.md",
            width=8,
        ),
        Query(f"sev1probe_open_seconds{{{PROBER}}}", "open"),
        Query(f"sev1probe_unrecorded_seconds{{{PROBER}}}", "unrecorded"),
    )
    return told_apart(panel, "open", "unrecorded")


def _queue() -> Panel:
    panel = lines(
        About(
            title="Ledger queue",
            description="Records that wait to be written, of the most that may wait. When the queue is full no "
            "further second is judged, and the prober is blind.",
            unit=units.PercentUnit,
            no_value="Not scraped in this range",
            page="docs/ledger.md",
            width=8,
        ),
        Query(
            f"sev1probe_ledger_queue_records{{{PROBER}}} / (sev1probe_ledger_queue_limit_records{{{PROBER}}} > 0)",
            "full",
        ),
        Query(f"1 - sev1probe_ledger_writable{{{PROBER}}}", "last write failed"),
    ).max(1)
    return told_apart(panel, "full", "last write failed")


def _commits() -> Panel:
    histogram = "sev1probe_ledger_commit_duration_seconds"
    return half_and_most(
        lines(
            About(
                title="Ledger commits",
                description="Duration of commits: half of them, and 99 %. One commit a second is made; slow disks "
                "show here and slow nothing else.",
                unit=units.Seconds,
                no_value="Nothing was written in this range",
                page="docs/ledger.md",
                width=8,
            ),
            Query(queries.quantile(0.5, histogram, PROBER), "half"),
            Query(queries.quantile(0.99, histogram, PROBER), "99 %"),
        )
    )


def _chain() -> Panel:
    panel = lines(
        About(
            title="Batches added to the chain in each step",
            description="How far the head of the ledger's hash chain moved: about one batch a second. It never goes "
            "back; Prometheus keeps the head's digest as a witness (sev1probe_ledger_chain_head_digest).",
            unit=units.Short,
            no_value="Not scraped in this range",
            page="docs/ledger.md",
            width=8,
        ),
        Query(queries.in_step(f"sev1probe_ledger_chain_head_sequence{{{PROBER}}}"), "batches"),
    )
    return told_apart(panel, "batches")


def _notifications() -> Panel:
    tries = f"sev1probe_notifications_total{{{PROBER}}}"
    return (
        stacked_bars(
            About(
                title="Notifications in each step",
                description="Tries to tell people and their tools, by what became of them. Failed ones are tried "
                "again; given up means never told.",
                unit=units.Short,
                no_value="Nothing was told in this range",
                page="docs/notifications.md",
                width=14,
            ),
            Query(f"sum by (courier, outcome) {queries.in_step(tries)} > 0", "{{courier}} {{outcome}}"),
        )
        .override_by_regexp("/ (told|repeated)$/", [look.coloured(look.GOOD, shades=True)])
        .override_by_regexp("/ failed$/", [look.coloured(look.BETWEEN, shades=True)])
        .override_by_regexp("/ given_up$/", [look.coloured(look.THEIRS, shades=True)])
    )


def _couriers() -> Panel:
    title = {"courier": "Courier", "Value #A": "Last try", "Value #B": "Waiting"}
    state = look.words({0: ("worked", look.GOOD), 1: ("failed", look.OURS)})
    return rows(
        About(
            title="Couriers",
            description="Whether the courier's last try worked, and how many notices wait in the ledger that it has "
            "not told.",
            unit=units.NoUnit,
            no_value="There are no couriers (setting notify), or not scraped",
            page="docs/notifications.md",
            width=10,
        ),
        [
            Query(f"max by (courier) (sev1probe_courier_failing{{{PROBER}}})", now=True),
            Query(f"max by (courier) (sev1probe_outbox_waiting{{{PROBER}}})", now=True),
        ],
        [merged(), *columns(title)],
    ).override_by_name("Last try", [look.as_words(state), look.coloured_text()])


def _clock_ahead() -> Panel:
    panel = lines(
        About(
            title="Wall clock against named seconds",
            description="How far the host's wall clock is ahead of the time that seconds are named by. A clock that "
            "was set back is followed slowly, by 10 ms a second, so that no second is judged twice.",
            unit=units.Seconds,
            no_value="Not scraped in this range",
            page="docs/limits.md",
            width=8,
        ),
        Query(f"sev1probe_clock_ahead_seconds{{{PROBER}}}", "ahead"),
    )
    return told_apart(panel, "ahead")


def _clock_errors() -> Panel:
    panel = lines(
        About(
            title="Error of the clock, says the kernel",
            description="The kernel's estimate of its clock's error, and its bound: the names of seconds are right to "
            "within these.",
            unit=units.Seconds,
            no_value="The kernel does not say, or not scraped in this range",
            page="docs/limits.md",
            width=8,
        ),
        Query(f"sev1probe_clock_estimated_error_seconds{{{PROBER}}}", "estimated"),
        Query(f"sev1probe_clock_maximum_error_seconds{{{PROBER}}}", "at most"),
    )
    return told_apart(panel, "estimated", "at most")


def _scrapes() -> Panel:
    panel = lines(
        About(
            title="What scrapes cost",
            description="99 % of the scrapes were rendered in this time; a slice is the time for which a scrape held "
            "the daemon, in which no attempt can begin.",
            unit=units.Seconds,
            no_value="Not scraped in this range",
            width=8,
        ),
        Query(queries.quantile(0.99, "sev1probe_scrape_render_duration_seconds", PROBER), "scrape"),
        Query(queries.quantile(0.99, "sev1probe_scrape_slice_duration_seconds", PROBER), "slice"),
    )
    return told_apart(panel, "scrape", "slice")
