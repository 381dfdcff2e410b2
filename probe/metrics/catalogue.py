"""Every metric's name, meaning, labels and buckets, in one place.

Label values come from closed sets only: the enums of `probe.core.model`, and the names of configured targets and
controls. A changed name, label or meaning is a change to users' dashboards and alerts: CHANGELOG and docs/metrics.md.
"""

from probe.metrics.families import SECOND_US, Description, Kind


def _us(*bounds_s: float) -> tuple[int, ...]:
    return tuple(round(bound_s * SECOND_US) for bound_s in bounds_s)


# Classic buckets are for dashboards that cannot read native ones; they are few, since each is a series for each target.
ATTEMPT_BOUNDS_US = _us(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
PHASE_BOUNDS_US = _us(0.005, 0.025, 0.1, 0.5, 2.5, 10)
LATENESS_BOUNDS_US = _us(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
WORK_BOUNDS_US = _us(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


def _counter(name: str, documentation: str, *labels: str) -> Description:
    return Description(name=f"sev1probe_{name}", kind=Kind.COUNTER, documentation=documentation, labels=labels)


def _gauge(name: str, documentation: str, *labels: str) -> Description:
    return Description(name=f"sev1probe_{name}", kind=Kind.GAUGE, documentation=documentation, labels=labels)


def _histogram(name: str, documentation: str, bounds_us: tuple[int, ...], *labels: str) -> Description:
    return Description(
        name=f"sev1probe_{name}",
        kind=Kind.HISTOGRAM,
        documentation=documentation,
        labels=labels,
        bounds_us=bounds_us,
    )


SECONDS = _counter("seconds_total", "Seconds judged, by the verdict of the surface.", "target", "surface", "verdict")
UNAVAILABLE_SECONDS = _counter(
    "unavailable_seconds_total",
    "Unavailable seconds of the surface, by what the verdict rests on.",
    "target",
    "surface",
    "basis",
)
TARGET_SECONDS = _counter(
    "target_seconds_total", "Seconds judged, by the verdict of the target as a whole.", "target", "verdict"
)
TARGET_UNAVAILABLE_SECONDS = _counter(
    "target_unavailable_seconds_total",
    "Unavailable seconds of the target as a whole, by what the verdict rests on.",
    "target",
    "basis",
)
ATTEMPTS = _counter(
    "attempts_total", "Attempts, by whose failure it was and what happened.", "target", "surface", "fault", "cause"
)
ATTEMPTS_CAPPED = _counter(
    "attempts_capped_total",
    "Attempts not made because too many were in flight; also counted as attempts with the cause capped.",
    "target",
    "surface",
)
ATTEMPTS_IN_FLIGHT = _gauge("attempts_in_flight", "Attempts that have begun and not ended.", "target", "surface")
ATTEMPT_DURATION = _histogram(
    "attempt_duration_seconds", "Duration of attempts that were made.", ATTEMPT_BOUNDS_US, "target", "surface"
)
PHASE_DURATION = _histogram(
    "phase_duration_seconds",
    "Duration of each phase that an attempt entered.",
    PHASE_BOUNDS_US,
    "target",
    "surface",
    "phase",
)
ATTEMPT_START_LATENESS = _histogram(
    "attempt_start_lateness_seconds", "How long after its due instant an attempt began.", LATENESS_BOUNDS_US
)
UNAVAILABLE_RUN = _gauge(
    "unavailable_run_seconds",
    "Unavailable seconds of the surface since its last available second.",
    "target",
    "surface",
)
ISSUE_OPEN = _gauge("critical_issue_open", "1 while a Critical Issue is open, else 0.", "target")
ISSUE_OPENED = _gauge(
    "critical_issue_opened_timestamp_seconds",
    "Second to which the opening of the Critical Issue is dated back; 0 while none is open.",
    "target",
)
ISSUE_TURNS = _counter("critical_issue_turns_total", "Turns of Critical Issues.", "target", "turn")
OBLIGATIONS = _gauge(
    "obligations",
    "What is owed in Critical Issues that are not over, and is pending or was missed.",
    "target",
    "obligation",
    "state",
)
OBLIGATIONS_MISSED = _counter(
    "obligations_missed_total",
    "Obligations in Critical Issues and Support Cases that were found to be missed.",
    "target",
    "obligation",
)
CASES = _gauge("cases", "Support Cases that are not over, by where they stand.", "target", "stage")
CASE_OBLIGATIONS = _gauge(
    "case_obligations",
    "What is owed in Support Cases that are not over, and is pending or was missed.",
    "target",
    "obligation",
    "state",
)
LAST_JUDGED = _gauge(
    "last_judged_second_timestamp_seconds", "Last second that was judged; 0 before the first.", "target"
)
CONTROL_ATTEMPTS = _counter(
    "control_attempts_total", "Control attempts, by what happened.", "control", "worked", "cause"
)
CONTROL_SUCCESS = _gauge(
    "control_success_ratio",
    "Share of the control's attempts that worked over its long-term record; NaN while there is none.",
    "control",
)
CONTROL_TRUSTED = _gauge(
    "control_trusted", "1 while the control's record lets it speak for our network, else 0.", "control"
)
SUSPECTED_SECONDS = _counter(
    "suspected_seconds_total",
    "Seconds in which credentials were refused that were taken before and after; for humans to decide, never counted.",
    "target",
    "surface",
)
BLIND = _gauge("blind", "1 while no second of the target has been judged for longer than agreed, else 0.", "target")
BLIND_CONDITIONS = _counter("blind_conditions_total", "How often the prober was found blind for the target.", "target")
PROVIDER_PAGE_POLLS = _counter(
    "provider_page_polls_total", "Polls of the provider's status page, by what came of them.", "source", "outcome"
)
PROVIDER_PAGE_SUCCESS_TIME = _gauge(
    "provider_page_last_success_timestamp_seconds",
    "When the provider's status page was last read with success; 0 before that.",
    "source",
)
NOTIFICATIONS = _counter(
    "notifications_total", "Tries to tell people and their tools, by what became of them.", "courier", "outcome"
)
COURIER_FAILING = _gauge("courier_failing", "1 if the courier's last try failed, else 0.", "courier")
OUTBOX_WAITING = _gauge("outbox_waiting", "Notices that the ledger keeps and that the courier has not told.", "courier")
OPEN_SECONDS = _gauge("open_seconds", "Seconds that have begun and are not judged yet, of the target with the most.")
CLOCK_AHEAD = _gauge(
    "clock_ahead_seconds",
    "How far the host's wall clock is ahead of the time that seconds are named by; a step back is followed slowly.",
)
CLOCK_SYNCHRONISED = _gauge(
    "clock_synchronised",
    "1 if the kernel says that the host's clock is synchronised, 0 if it says that it is not, NaN if it does not say.",
)
CLOCK_ESTIMATED_ERROR = _gauge(
    "clock_estimated_error_seconds", "The kernel's estimate of its clock's error; NaN if it does not say."
)
CLOCK_MAXIMUM_ERROR = _gauge(
    "clock_maximum_error_seconds", "The kernel's bound of its clock's error; NaN if it does not say."
)
UNRECORDED_SECONDS = _gauge("unrecorded_seconds", "Judged seconds that are not in the ledger yet, of all targets.")
LEDGER_WRITABLE = _gauge("ledger_writable", "1 if the last write to the ledger worked, else 0.")
LEDGER_QUEUE = _gauge("ledger_queue_records", "Records that wait to be written to the ledger.")
LEDGER_QUEUE_LIMIT = _gauge("ledger_queue_limit_records", "The most records that may wait to be written.")
LEDGER_COMMIT = _histogram("ledger_commit_duration_seconds", "Duration of commits to the ledger.", WORK_BOUNDS_US)
CHAIN_HEAD_SEQUENCE = _gauge("ledger_chain_head_sequence", "Sequence number of the newest batch in the hash chain.")
CHAIN_HEAD_DIGEST = _gauge(
    "ledger_chain_head_digest",
    "First 52 bits of the newest batch's digest as a number: a witness of the chain outside of the ledger.",
)
CONFIG_RELOAD_SUCCESSFUL = _gauge("config_last_reload_successful", "1 if the last load of the settings worked, else 0.")
CONFIG_RELOAD_SUCCESS_TIME = _gauge(
    "config_last_reload_success_timestamp_seconds", "When settings were last loaded with success; 0 before that."
)
BUILD_INFO = _gauge("build_info", "Always 1.", "version", "python_version", "rules_version")
SCRAPE_RENDER = _histogram(
    "scrape_render_duration_seconds", "Time from the begin to the end of rendering a scrape.", WORK_BOUNDS_US
)
SCRAPE_SLICE = _histogram(
    "scrape_slice_duration_seconds", "Time for which one slice of a scrape held the event loop.", WORK_BOUNDS_US
)

CATALOGUE: tuple[Description, ...] = tuple(value for value in globals().values() if isinstance(value, Description))
