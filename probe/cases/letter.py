"""A Support Case as an e-mail: the summary in words, the table of seconds, and the record attached as CSV.

Replies in it come from a server that may be out of order. They are shown as one line of printable text each, and the
mail has no HTML at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from probe.core.callsheet import NAMES, Contacts
from probe.core.case_happenings import Case, CaseKind
from probe.core.evidence import Evidence
from probe.times import utc

SECOND_US: Final = 1_000_000
TABLE_ROWS_MAX: Final = 100  # of runs of seconds; the attached record has all of them
REPLY_CHARACTERS_MAX: Final = 300

KINDS: Final = {
    CaseKind.SOFTWARE_BUG: "Software bug",
    CaseKind.CONFIGURATION_REQUEST: "Configuration request",
    CaseKind.INFORMATION_REQUEST: "Information request",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosure:
    """The evidence that goes along. `unavailable` has (surface, second, basis) of each unavailable second, in order."""

    evidence: Evidence
    unavailable: Sequence[tuple[str, int, str]]
    record: bytes  # CSV


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """All that a case's mail is made of."""

    case: Case
    sender: str
    recipient: str
    contacts: Contacts
    vantage: str
    now_us: int
    enclosure: Enclosure | None = None


def message_id_of(case: str, sender: str) -> str:
    """Name the one mail of a case: whoever gets it again knows it by this."""
    return f"<{case}.sev1probe@{sender.rpartition('@')[2]}>"


def letter(told: Letter) -> EmailMessage:
    """Write the mail."""
    case = told.case
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(told.contacts.company, addr_spec=told.sender)
    message["To"] = told.recipient
    if told.contacts.contact_email and told.contacts.contact_email != told.sender:
        message["Reply-To"] = told.contacts.contact_email
    message["Subject"] = f"[{case.case}] {case.title}"
    message["Date"] = format_datetime(_moment(told.now_us // SECOND_US))
    message["Message-ID"] = message_id_of(case.case, told.sender)
    message.set_content("\n".join(_lines(told)) + "\n", cte="quoted-printable")
    if told.enclosure is not None:
        message.add_attachment(told.enclosure.record, maintype="text", subtype="csv", filename=f"{case.case}.csv")
    return message


def _lines(told: Letter) -> Iterator[str]:
    case, contacts = told.case, told.contacts
    yield f"Support Case: {case.title}"
    yield ""
    said = {
        "Kind": KINDS[case.kind],
        "Our reference": case.case,
        "Account": case.target,
        "Company": contacts.company,
        "Contact name": contacts.contact_name,
        "Contact phone": contacts.contact_phone,
        "Contact e-mail": contacts.contact_email or told.sender,
    }
    yield from (f"{name + ':':<16}{value}" for name, value in said.items() if value)
    if case.words:
        yield ""
        yield case.words
    if told.enclosure is not None:
        yield ""
        yield from _evidence(told.enclosure.evidence, told.vantage)
        yield ""
        yield from _table(told.enclosure.unavailable)
        yield ""
        yield f"The record, second by second and attempt by attempt, is attached: {case.case}.csv"


def _evidence(evidence: Evidence, vantage: str) -> Iterator[str]:
    seconds = evidence.last_second - evidence.first_second + 1
    yield (
        f"In {evidence.unavailable:,} of the {seconds:,} seconds from {utc(evidence.first_second)} to "
        f"{utc(evidence.last_second)} every attempt on a surface failed by the service's own fault. "
        f"We look from {vantage}, with one real attempt a second or more on each surface, without retries."
    )
    for found in evidence.surfaces:
        causes = ", ".join(f"{str(cause).replace('_', ' ')} ({count:,}x)" for cause, count in found.causes)
        what = f"{found.unavailable:,} of {found.seconds:,} seconds Unavailable"
        yield f"- {NAMES[found.surface]}: {what}{'; what happened: ' + causes if causes else ''}."
    for sample in evidence.samples:
        reply = _printable(f"{sample.code or ''} {sample.reply}".strip())[:REPLY_CHARACTERS_MAX] or "no reply"
        yield f"- {sample.surface} at {utc(sample.second)}, message id {sample.message_id}: {reply}"
    for name, worked, tried in evidence.controls:
        yield f"- Our network: the control {name} worked in {worked:,} of {tried:,} unavailable seconds."


def _table(unavailable: Sequence[tuple[str, int, str]]) -> Iterator[str]:
    runs = _runs(unavailable)
    yield f"{'surface':<8} {'first second (UTC)':<21} {'last second (UTC)':<21} {'seconds':>7}  basis"
    for surface, first, last, basis in runs[:TABLE_ROWS_MAX]:
        yield f"{surface:<8} {utc(first):<21} {utc(last):<21} {last - first + 1:>7}  {basis}"
    if not runs:
        yield "(no second was Unavailable)"
    if len(runs) > TABLE_ROWS_MAX:
        yield f"... and {len(runs) - TABLE_ROWS_MAX:,} more in the attached record"


def _runs(unavailable: Sequence[tuple[str, int, str]]) -> list[tuple[str, int, int, str]]:
    """Join seconds that follow each other on a surface, on the same basis; in order of their beginnings."""
    runs: list[tuple[str, int, int, str]] = []
    newest: dict[str, int] = {}
    for surface, second, basis in unavailable:
        place = newest.get(surface)
        if place is not None and runs[place][2:] == (second - 1, basis):
            runs[place] = (surface, runs[place][1], second, basis)
        else:
            newest[surface] = len(runs)
            runs.append((surface, second, second, basis))
    return runs


def _printable(text: str) -> str:
    flat = " ".join(text.split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in flat)


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
