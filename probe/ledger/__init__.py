"""The ledger: the durable record of what was seen and what was judged.

`Ledger` writes it and `LedgerQueue` stands between it and the cadence; `verify`, `export_rows` and `what_if` read it,
also while a daemon writes. docs/ledger.md describes the tables, the export and the chain for those who use them.
"""

from probe.ledger.cases import cases_in
from probe.ledger.errors import LedgerError, LedgerRefused, LedgerTooNew, LedgerUnwritable
from probe.ledger.evidence import evidence_of, statements_of
from probe.ledger.export import (
    ATTEMPT_FIELDS,
    CSV_FIELDS,
    SECOND_FIELDS,
    export_rows,
    write_csv,
    write_jsonl,
)
from probe.ledger.export_remarks import FORMAT_VERSION
from probe.ledger.lives import lives_in
from probe.ledger.outbox import Outbox
from probe.ledger.propose import propose
from probe.ledger.queue import LedgerQueue
from probe.ledger.read import newest_second
from probe.ledger.records import Batch, Commit
from probe.ledger.recover import Recovery
from probe.ledger.remarks import evidence_text, remarks_of
from probe.ledger.replay import Difference, what_if
from probe.ledger.retention import CutReport
from probe.ledger.store import Head
from probe.ledger.tables import RemarkKind
from probe.ledger.tallies import Account, Tally, account_of, known_targets
from probe.ledger.unavailable import Recorded, unavailable_in
from probe.ledger.verify import Anchor, Report, verify
from probe.ledger.writer import Ledger

__all__ = [
    "ATTEMPT_FIELDS",
    "CSV_FIELDS",
    "FORMAT_VERSION",
    "SECOND_FIELDS",
    "Account",
    "Anchor",
    "Batch",
    "Commit",
    "CutReport",
    "Difference",
    "Head",
    "Ledger",
    "LedgerError",
    "LedgerQueue",
    "LedgerRefused",
    "LedgerTooNew",
    "LedgerUnwritable",
    "Outbox",
    "Recorded",
    "Recovery",
    "RemarkKind",
    "Report",
    "Tally",
    "account_of",
    "cases_in",
    "evidence_of",
    "evidence_text",
    "export_rows",
    "known_targets",
    "lives_in",
    "newest_second",
    "propose",
    "remarks_of",
    "statements_of",
    "unavailable_in",
    "verify",
    "what_if",
    "write_csv",
    "write_jsonl",
]
