"""The daemon's metrics: who counts what, and when.

The catalogue says what each of them means, `books` holds what belongs to one target, `exposition` renders them.
"""

import math
import platform
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol

from prometheus_client import CollectorRegistry, disable_created_metrics

from probe.core.case_happenings import CaseStage
from probe.core.case_obligations import CaseDuty
from probe.core.engine import TargetState
from probe.core.model import Cause, ClockState, ControlOutcome, Remark, Statement, Step, Surface, Synchronisation
from probe.core.notices import Delivery
from probe.core.obligations import Duty, ObligationState
from probe.metrics import catalogue
from probe.metrics.books import Families, TargetBook
from probe.metrics.exposition import CONTENT_TYPES, Exposition
from probe.metrics.families import SECOND_US, Scalar
from probe.metrics.negotiation import choose_format, gzip_accepted

DIGEST_HEX_DIGITS = 13  # 52 bits: as many as a float holds without loss
PPM = 1_000_000


class PagePoll(StrEnum):
    """What came of a poll of the provider's status page."""

    READ = "read"
    REFUSED = "refused"  # a reply, but not the page
    FAILED = "failed"  # no whole reply


def poll_of(statement: Statement) -> PagePoll:
    """Say what came of a poll."""
    if statement.code == HTTPStatus.OK and not statement.trouble:
        return PagePoll.READ
    return PagePoll.REFUSED if statement.code not in (0, HTTPStatus.OK) else PagePoll.FAILED


class Named(Protocol):
    """A configured control, as far as metrics care."""

    @property
    def name(self) -> str:
        """Its name."""
        ...


class Watched(Named, Protocol):
    """A configured target, as far as metrics care."""

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """The surfaces that are judged."""
        ...


class Metrics:
    """All metrics of the daemon, on one registry of its own."""

    def __init__(self, registry: CollectorRegistry, *, version: str, rules_version: int) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no hints here
        families = self._families = Families(registry)
        scalar, histogram = families.scalar, families.histogram
        self._books: dict[str, TargetBook] = {}
        self._controls: frozenset[str] = frozenset()
        self._sources = frozenset[str]()
        self._couriers = frozenset[str]()
        self._lateness = histogram(catalogue.ATTEMPT_START_LATENESS).cell()
        self._commit = histogram(catalogue.LEDGER_COMMIT).cell()
        self._open_seconds = scalar(catalogue.OPEN_SECONDS).cell()
        self._clock_ahead = scalar(catalogue.CLOCK_AHEAD).cell()
        self._clock_synchronised = scalar(catalogue.CLOCK_SYNCHRONISED).cell()
        self._clock_errors = [
            scalar(described).cell() for described in (catalogue.CLOCK_ESTIMATED_ERROR, catalogue.CLOCK_MAXIMUM_ERROR)
        ]
        for cell in (self._clock_synchronised, *self._clock_errors):
            cell.value = math.nan
        self._unrecorded = scalar(catalogue.UNRECORDED_SECONDS).cell()
        self._writable = scalar(catalogue.LEDGER_WRITABLE).cell()
        self._queue = scalar(catalogue.LEDGER_QUEUE).cell()
        self._queue_limit = scalar(catalogue.LEDGER_QUEUE_LIMIT).cell()
        self._chain_sequence = scalar(catalogue.CHAIN_HEAD_SEQUENCE).cell()
        self._chain_digest = scalar(catalogue.CHAIN_HEAD_DIGEST).cell()
        self._reload_successful = scalar(catalogue.CONFIG_RELOAD_SUCCESSFUL).cell()
        self._reload_time = scalar(catalogue.CONFIG_RELOAD_SUCCESS_TIME).cell()
        built = scalar(catalogue.BUILD_INFO).cell(version, platform.python_version(), str(rules_version))
        built.value = 1
        self._exposition = Exposition(
            registry,
            render_duration=histogram(catalogue.SCRAPE_RENDER).cell(),
            slice_duration=histogram(catalogue.SCRAPE_SLICE).cell(),
        )

    def configure(
        self,
        targets: Iterable[Watched],
        controls: Iterable[Named],
        sources: Iterable[str] = (),
        couriers: Iterable[Named] = (),
    ) -> None:
        """Make all known children of these at zero, keep what is there, forget all others.

        `sources` name the documents of the provider's status pages, as statements do.
        """
        watched = {target.name: target.surfaces for target in targets}
        self._controls = frozenset(control.name for control in controls)
        self._sources = frozenset(sources)
        self._couriers = frozenset(courier.name for courier in couriers)
        kept = {(name, surface) for name, surfaces in watched.items() for surface in surfaces}
        self._families.forget_unless(lambda labels: self._is_configured(labels, watched, kept))
        self._books = {name: TargetBook(self._families, name, surfaces) for name, surfaces in watched.items()}
        for control in sorted(self._controls):
            self._control(control, worked=True, cause=Cause.ACCEPTED)
            success = self._families.scalar(catalogue.CONTROL_SUCCESS)
            if not success.has(control):
                success.cell(control).value = math.nan
                # A new control is believed until it has failed too often (core/controls.py).
                self._families.scalar(catalogue.CONTROL_TRUSTED).cell(control).value = 1
        for source in sorted(self._sources):
            for poll in PagePoll:
                self._families.scalar(catalogue.PROVIDER_PAGE_POLLS).cell(source, poll)
            self._families.scalar(catalogue.PROVIDER_PAGE_SUCCESS_TIME).cell(source)

        for name in sorted(self._couriers):
            for delivery in Delivery:
                self._families.scalar(catalogue.NOTIFICATIONS).cell(name, delivery)
            self._families.scalar(catalogue.COURIER_FAILING).cell(name)
            self._families.scalar(catalogue.OUTBOX_WAITING).cell(name)

    def _is_configured(
        self, labels: dict[str, str], targets: Collection[str], surfaces: Collection[tuple[str, str]]
    ) -> bool:
        """Tell whether what the labels name is still in the settings; labels that name neither are always kept."""
        if "surface" in labels:
            return (labels["target"], labels["surface"]) in surfaces
        if "target" in labels:
            return labels["target"] in targets
        if "source" in labels:
            return labels["source"] in self._sources
        if "courier" in labels:
            return labels["courier"] in self._couriers
        return labels.get("control", "") in ("", *self._controls)

    def show_state(self, target: str, state: TargetState) -> None:
        """Show a state that was recovered, before the first step of this run."""
        book = self._books.get(target)
        if book is not None:
            book.show(state)
            book.last_judged.value = state.next_second - 1

    def observe_step(self, step: Step, state: TargetState) -> None:
        """Count a step that is in the ledger, and show the state after it; a target no longer configured is no more."""
        book = self._books.get(step.target)
        if book is None:
            return
        book.observe(step)
        book.show(state)

    def observe_controls(self, outcomes: Iterable[ControlOutcome]) -> None:
        """Count the control attempts of one second."""
        for outcome in outcomes:
            if outcome.control in self._controls:
                self._control(outcome.control, worked=outcome.worked, cause=outcome.cause).value += 1

    def observe_remark(self, remark: Remark) -> None:
        """Show what the ledger keeps beside the seconds; a condition was shown at once when it turned."""
        if isinstance(remark, ClockState):
            self.set_clock_state(remark)
        elif isinstance(remark, Statement):
            self.observe_statement(remark)

    def _control(self, control: str, *, worked: bool, cause: Cause) -> Scalar:
        return self._families.scalar(catalogue.CONTROL_ATTEMPTS).cell(control, "true" if worked else "false", cause)

    def attempt_started(self, target: str, surface: Surface, lateness_us: int) -> None:
        """Count an attempt in flight, and how late it began."""
        self._lateness.observe_us(lateness_us)
        self._add_in_flight(target, surface, 1)

    def attempt_ended(self, target: str, surface: Surface) -> None:
        """Count an attempt that is in flight no more."""
        self._add_in_flight(target, surface, -1)

    def _add_in_flight(self, target: str, surface: Surface, number: int) -> None:
        book = self._books.get(target)
        if book is not None and surface in book.surfaces:
            cell = book.surfaces[surface].in_flight
            # An attempt may outlive its target's settings and end when the target is configured anew.
            cell.value = max(0, cell.value + number)

    def set_open_seconds(self, seconds: int) -> None:
        """Show how many seconds have begun and are not judged, of the target with the most."""
        self._open_seconds.value = seconds

    def set_clock_ahead(self, ahead_us: int) -> None:
        """Show how far the wall clock is ahead of the time that seconds are named by."""
        self._clock_ahead.value = ahead_us / SECOND_US

    def set_clock_state(self, state: ClockState) -> None:
        """Show what the kernel says of the host's clock."""
        is_known = state.synchronisation is not Synchronisation.UNKNOWN
        synchronised = float(state.synchronisation is Synchronisation.SYNCHRONISED)
        self._clock_synchronised.value = synchronised if is_known else math.nan
        errors_us = (state.estimated_error_us, state.maximum_error_us)
        for cell, error_us in zip(self._clock_errors, errors_us, strict=True):
            cell.value = error_us / SECOND_US if is_known else math.nan

    def set_control(self, name: str, success_ppm: int, trusted: bool) -> None:
        """Show a control's long-term record, and whether it lets the control speak for our network."""
        if name in self._controls:
            self._families.scalar(catalogue.CONTROL_SUCCESS).cell(name).value = success_ppm / PPM
            self._families.scalar(catalogue.CONTROL_TRUSTED).cell(name).value = trusted

    def show_obligations(self, target: str, counts: Mapping[tuple[Duty, ObligationState], int]) -> None:
        """Show what is owed in a target's issues that are not over."""
        book = self._books.get(target)
        if book is not None:
            for key, cell in book.obligations.items():
                cell.value = counts.get(key, 0)

    def observe_missed(self, target: str, obligation: str) -> None:
        """Count an obligation that was found to be missed."""
        book = self._books.get(target)
        if book is not None:
            book.missed[obligation].value += 1

    def show_cases(
        self,
        target: str,
        stages: Mapping[CaseStage, int],
        counts: Mapping[tuple[CaseDuty, ObligationState], int],
    ) -> None:
        """Show where a target's Support Cases that are not over stand, and what is owed in them."""
        book = self._books.get(target)
        if book is not None:
            for stage, cell in book.cases.items():
                cell.value = stages.get(stage, 0)
            for key, cell in book.case_obligations.items():
                cell.value = counts.get(key, 0)

    def set_blind(self, target: str, blind: bool) -> None:
        """Show whether the prober is blind for a target; each time that it becomes so counts."""
        book = self._books.get(target)
        if book is not None:
            book.blind_conditions.value += blind and not book.blind.value
            book.blind.value = blind

    def observe_statement(self, statement: Statement) -> None:
        """Count a poll of the provider's status page."""
        if statement.source not in self._sources:
            return
        poll = poll_of(statement)
        self._families.scalar(catalogue.PROVIDER_PAGE_POLLS).cell(statement.source, poll).value += 1
        if poll is PagePoll.READ:
            success_time = self._families.scalar(catalogue.PROVIDER_PAGE_SUCCESS_TIME).cell(statement.source)
            success_time.value = statement.fetched_us / SECOND_US

    def observe_delivery(self, courier: str, delivery: Delivery) -> None:
        """Count a try of a courier, and show whether it worked."""
        if courier in self._couriers:
            self._families.scalar(catalogue.NOTIFICATIONS).cell(courier, delivery).value += 1

    def set_courier_failing(self, courier: str, failing: bool) -> None:
        """Show whether a courier's last try failed."""
        if courier in self._couriers:
            self._families.scalar(catalogue.COURIER_FAILING).cell(courier).value = failing

    def set_outbox_waiting(self, courier: str, notices: int) -> None:
        """Show how many notices a courier has not told yet."""
        if courier in self._couriers:
            self._families.scalar(catalogue.OUTBOX_WAITING).cell(courier).value = notices

    def observe_commit(self, duration_us: int, *, sequence: int, digest: str) -> None:
        """Count a commit to the ledger and show the head of its chain; `digest` is SHA-256 in hex."""
        self._commit.observe_us(duration_us)
        self.set_chain_head(sequence=sequence, digest=digest)

    def set_chain_head(self, *, sequence: int, digest: str) -> None:
        """Show the head of the ledger's chain, as it was found at the start."""
        self._chain_sequence.value = sequence
        self._chain_digest.value = int(digest[:DIGEST_HEX_DIGITS] or "0", 16)

    def set_ledger(
        self, *, writable: bool, queue_records: int, queue_records_max: int, unrecorded_seconds: int
    ) -> None:
        """Show how the ledger is doing."""
        self._writable.value = writable
        self._queue.value = queue_records
        self._queue_limit.value = queue_records_max
        self._unrecorded.value = unrecorded_seconds

    def observe_reload(self, *, successful: bool, wall_us: int) -> None:
        """Show whether the settings could be loaded, and when it last worked."""
        self._reload_successful.value = successful
        if successful:
            self._reload_time.value = wall_us / SECOND_US

    async def render(self, accept: str, accept_encoding: str) -> tuple[str, str, bytes]:
        """Render a scrape as the scraper can read it; return content type, content encoding ("" for none) and body."""
        form, compressed = choose_format(accept), gzip_accepted(accept_encoding)
        body = await self._exposition.render(form, compressed)
        return CONTENT_TYPES[form], "gzip" if compressed else "", body
