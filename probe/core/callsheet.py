"""The call sheet: whom to call and what to say, in plain sentences made of the record, on one page.

The contract names what is asked for on the phone: company name, contact name, contact phone number, contact e-mail
address, and a description of the Critical Issue. Times are given in UTC, since both sides' logs are, with the caller's
own behind them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from probe.core.evidence import Evidence, SurfaceEvidence
from probe.core.happenings import Act
from probe.core.lives import Life
from probe.core.model import Basis, Outcome, Statement, Surface
from probe.core.obligations import MINUTE_US, Obligation, ObligationState, Pledges

SECOND_US: Final = 1_000_000
REPLY_CHARACTERS_MAX: Final = 200  # of a verbatim reply on the sheet; the ledger has all of it
NOTICES_MAX: Final = 3
MISSING: Final = "NOT CONFIGURED"
NAMES: Final = {Surface.API: "API calls", Surface.SMTP: "SMTP injections"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contacts:
    """Who calls whom; "" where nobody has said."""

    company: str = ""
    contact_name: str = ""
    contact_phone: str = ""
    contact_email: str = ""
    severity_1_line: str = ""
    tam_name: str = ""
    tam_phone: str = ""
    tam_email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a call sheet is made of. `evidence` is None where the record of it is gone."""

    life: Life
    contacts: Contacts
    profile: str
    pledges: Pledges
    vantage: str
    evidence: Evidence | None
    statements: tuple[Statement, ...]
    owed: tuple[Obligation, ...]
    zone: tzinfo
    now_us: int
    tam: str = ""  # how to reach the Technical Account Manager and when, in words; "" where nobody has said


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One failed attempt, verbatim."""

    title: str
    reply: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSheet:
    """What stands on the page; every text is one line."""

    title: str
    issue: str
    stage: str
    call: str  # the number, or whom to reach
    do: tuple[str, ...]
    say: tuple[tuple[str, str], ...]
    description: tuple[str, ...]
    samples: tuple[Sample, ...]
    ruled_out: tuple[str, ...]
    status_page: tuple[str, ...]
    owed: tuple[str, ...]
    made: str


def call_sheet(facts: Facts) -> CallSheet:
    """Write the call sheet of an issue."""
    state, contacts = facts.life.procedure, facts.contacts
    return CallSheet(
        title=f"Critical Issue: {facts.life.target}",
        issue=facts.life.issue,
        stage=str(state.stage),
        call=whom_to_call(contacts, facts.pledges),
        do=tuple(_do(facts)),
        say=(
            ("Company", contacts.company or MISSING),
            ("Contact name", contacts.contact_name or MISSING),
            ("Contact phone", contacts.contact_phone or MISSING),
            ("Contact e-mail", contacts.contact_email or MISSING),
        ),
        description=tuple(_description(facts)),
        samples=tuple(_sample(outcome, facts.zone) for outcome in (facts.evidence.samples if facts.evidence else ())),
        ruled_out=tuple(_ruled_out(facts.evidence)),
        status_page=tuple(_said(facts.statements, facts.zone)),
        owed=tuple(owed_words(one, facts.zone) for one in facts.owed),
        made=f"Made {moment(facts.now_us, facts.zone)} by sev1probe on {facts.vantage}, from its ledger.",
    )


def whom_to_call(contacts: Contacts, pledges: Pledges) -> str:
    """Give the number to call; where there is no line, how to reach the Technical Account Manager."""
    if pledges.has_line:
        return contacts.severity_1_line or MISSING
    ways = (contacts.tam_name, contacts.tam_phone, contacts.tam_email)
    return ", ".join(way for way in ways if way) or MISSING


def owed_words(one: Obligation, zone: tzinfo) -> str:
    """Say an obligation in a line."""
    what = {
        "call_line": "call the Severity 1 line",
        "submit_case": "submit a Support Case",
        "call_back": "call back",
        "update": "give an update",
    }[one.name]
    came = f", came {moment(one.met_us, zone)}" if one.met_us and one.state is ObligationState.MISSED else ""
    was = "is" if one.state is ObligationState.PENDING else "was"
    return f"{one.state}: the {one.owed_by} {was} to {what} by {moment(one.due_us, zone)}{came}"


def moment(moment_us: int, zone: tzinfo) -> str:
    """Write a moment in UTC, and in another zone behind it."""
    at = datetime.fromtimestamp(moment_us // SECOND_US, UTC)
    local = at.astimezone(zone)
    text = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    if not local.utcoffset():
        return text
    return f"{text} ({local:%H:%M:%S %Z})" if local.date() == at.date() else f"{text} ({local:%Y-%m-%d %H:%M:%S %Z})"


def _do(facts: Facts) -> Iterator[str]:
    contacts, issue = facts.contacts, facts.life.issue
    if facts.pledges.has_line:
        yield _call_the_line(facts)
        yield "Say what stands below. Ask for their reference and for the name of who took the call."
        yield f"Record the call: sev1probe issue called {issue} -c FILE --to NAME --reference NUMBER"
        yield f"They must call back within 15 minutes. Record that too: sev1probe issue called-back {issue} -c FILE"
        if facts.tam:
            yield f"The escalation point, in Business Hours only, is the Technical Account Manager: {facts.tam}."
            yield f"Record an escalation: sev1probe issue escalated {issue} -c FILE --to NAME"
    else:
        yield _submit_a_case(facts)
        yield f"Record it: sev1probe issue submitted {issue} -c FILE --reference NUMBER"
        tam = facts.tam or whom_to_call(contacts, facts.pledges)
        yield f"In their Business Hours call the Technical Account Manager: {tam}."
        yield f"Record that: sev1probe issue escalated {issue} -c FILE --to NAME"
    minutes = facts.pledges.update_every_us // MINUTE_US
    yield f"Record each update, due every {minutes} minutes: sev1probe issue update {issue} -c FILE --words TEXT"
    yield f"It is resolved once both sides agree: sev1probe issue agree customer {issue} -c FILE, and agree provider"


def _call_the_line(facts: Facts) -> str:
    """Say whether the line is still to be called, to be called again, or was called already."""
    state, number = facts.life.procedure, facts.contacts.severity_1_line or MISSING
    if not state.line_called_us:
        return f"Call the Severity 1 line, {number}, open day and night. {_by_when(facts)}"
    quote = f" and quote {', '.join(state.references)}" if state.references else ""
    called_us, failed_us = (_last_us(facts.life, act) for act in (Act.LINE_CALLED, Act.RELAPSED))
    if failed_us > called_us and not state.restored_us:
        return f"The service has failed again. Call the Severity 1 line again, {number}, open day and night{quote}."
    at = moment(called_us, facts.zone)
    return f"The Severity 1 line, {number}, was called at {at}. If they owe you an answer call it again{quote}."


def _submit_a_case(facts: Facts) -> str:
    """Say whether a Support Case is still to be submitted."""
    state = facts.life.procedure
    if not state.case_submitted_us:
        return f"Submit a Support Case (dashboard or designated address) with what stands below. {_by_when(facts)}"
    known = f" ({', '.join(state.cases)})" if state.cases else ""
    at = moment(state.case_submitted_us, facts.zone)
    return f"The Support Case was submitted at {at}{known}. Add to it what is new."


def _by_when(facts: Facts) -> str:
    due_us = facts.life.procedure.noticed_us + facts.pledges.call_within_us
    by = moment(due_us, facts.zone)
    return f"Do it by {by}." if facts.now_us <= due_us else f"It was due by {by}: do it now."


def _last_us(life: Life, act: Act) -> int:
    return max((one.at_us for one in life.happenings if one.act is act), default=0)


def _description(facts: Facts) -> Iterator[str]:
    state, evidence, zone = facts.life.procedure, facts.evidence, facts.zone
    yield (
        f"The e-mail service has been Unavailable persistently since {moment(state.opened_us, zone)}, by the words of "
        f"our contract ({facts.profile})."
    )
    if state.restored_us:
        yield f"It answers again since {moment(state.restored_us, zone)}; that is not a resolution yet."
    if state.relapses:
        times = "once" if state.relapses == 1 else f"{state.relapses} times"
        yield f"It had been restored in between and has relapsed {times}."
    if evidence is None or not evidence.first_second:
        yield "The record of the attempts is not there (any more), so no more can be said from it."
        return
    whole = evidence.last_second - evidence.first_second + 1
    yield (
        f"In {evidence.unavailable:,} of the {whole:,} seconds up to {moment(evidence.last_second * SECOND_US, zone)} "
        "every attempt on a surface failed for a cause that lies with the service."
    )
    for surface in evidence.surfaces:
        yield _of_surface(surface, zone)
    yield f"We look from {facts.vantage}, with one real attempt a second or more on each surface, without retries."


def _of_surface(found: SurfaceEvidence, zone: tzinfo) -> str:
    name = NAMES[found.surface]
    if not found.unavailable:
        return f"{name} were not affected in these {found.seconds:,} seconds."
    causes = ", ".join(f"{str(cause).replace('_', ' ')} ({count:,}x)" for cause, count in found.causes)
    network = f", {found.corroborated:,} of them by the word of our controls" if found.corroborated else ""
    since = moment(found.first_second * SECOND_US, zone)
    return (
        f"{name}: {found.unavailable:,} of {found.seconds:,} seconds Unavailable since {since}{network}. "
        f"What happened: {causes}."
    )


def _sample(outcome: Outcome, zone: tzinfo) -> Sample:
    status = "" if not outcome.code else f"{outcome.code} "
    shown = "" if outcome.reply.startswith(outcome.enhanced_code) else f"{outcome.enhanced_code} "
    reply = " ".join(f"{status}{shown}{outcome.reply}".split())
    cut = reply if len(reply) <= REPLY_CHARACTERS_MAX else reply[: REPLY_CHARACTERS_MAX - 3] + "..."
    cause = str(outcome.cause).replace("_", " ")
    where = f"{outcome.surface} at {moment(outcome.started_us, zone)}, phase {outcome.phase}"
    return Sample(
        title=f"{where}: {cause} after {outcome.duration_us / SECOND_US:.3f} s",
        reply=cut or "no reply",
        message_id=outcome.message_id,
    )


def _ruled_out(evidence: Evidence | None) -> Iterator[str]:
    if evidence is None:
        return
    for name, worked, tried in evidence.controls:
        yield f"Our network: the control {name} worked in {worked:,} of {tried:,} unavailable seconds."
    if not evidence.controls:
        yield "Our network: no control was attempted, so only the service's own replies and silences count."
    if not evidence.own_faults:
        yield "Our own faults (credentials, quota, our host): none in this time."
    else:
        listed = ", ".join(f"{str(cause).replace('_', ' ')} ({count:,}x)" for cause, count in evidence.own_faults)
        yield f"Our own faults: {listed}. Seconds that rest on them are not counted."
    if any(surface.corroborated for surface in evidence.surfaces):
        yield f"Seconds of the basis {Basis.CORROBORATED} are network faults while a control of that second worked."


def _said(statements: Sequence[Statement], zone: tzinfo) -> Iterator[str]:
    """Say what the status pages said last, each page once."""
    newest = {statement.source: statement for statement in statements}
    for source, last in sorted(newest.items()):
        when = moment(last.fetched_us, zone)
        if last.trouble:
            yield f"{source}, {when}: no statement ({last.trouble})."
            continue
        body = next((one.body for one in reversed(statements) if one.digest == last.digest and one.body), "")
        yield f"{source}, {when}: {_words_of(body)}"


def _words_of(body: str) -> str:
    """Read a page of the Statuspage kind; whatever it holds instead, the sheet is still written."""
    try:
        page = json.loads(body)
        said = [str(page["status"]["description"])] if "status" in page else []
        notices: list[Any] = [*page.get("incidents", ()), *page.get("scheduled_maintenances", ())]
        said += [f"{notice['name']} ({notice['status']})" for notice in notices[:NOTICES_MAX]]
    except (AttributeError, KeyError, TypeError, ValueError):
        return "it could not be read as a status page; its words are in the ledger."
    text = " ".join("; ".join(said or ["nothing announced"]).split())
    return f"“{text[:REPLY_CHARACTERS_MAX]}”"
