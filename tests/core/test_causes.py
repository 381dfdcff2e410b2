"""What every cause means, as users read it."""

import re
from pathlib import Path

from probe.core.causes import MEANING, as_markdown
from probe.core.endings import fault_of
from probe.core.model import Cause

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "causes.md"


def test_the_documentation_is_printed_from_the_table() -> None:
    """The page in docs/ equals what the table prints."""
    assert DOCUMENT.read_text(encoding="utf-8") == as_markdown(), "write what as_markdown returns into the page"


def test_every_cause_stands_there_once_with_its_fault_and_a_sentence() -> None:
    """No word of the ledger is left to be guessed."""
    rows = re.findall(r"(?m)^\| `(\w+)` \| (\w+) \| [^|]+ \| ([^|]+) \|$", as_markdown())
    assert [(cause, fault) for cause, fault, _ in rows] == [(cause, fault_of(cause)) for cause in Cause]
    assert all(re.fullmatch(r"[A-Z].*[^ .]\.", meaning) for _, _, meaning in rows)


def test_no_two_causes_mean_the_same() -> None:
    """Each sentence tells its cause from all others."""
    assert len(set(MEANING.values())) == len(Cause)
