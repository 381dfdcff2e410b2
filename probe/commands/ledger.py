"""`ledger verify` and `ledger export`."""

import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import TextIO

from probe.clock import SECOND_US, wall_us
from probe.commands.settings import loaded
from probe.commands.terminal import Exit, fail, out, write
from probe.ledger import Anchor, LedgerError, export_rows, write_csv, write_jsonl
from probe.ledger import verify as verify_chain
from probe.settings.duration import parse_duration
from probe.times import utc

LAST_SECOND = 253_402_300_799  # the end of the year 9999, the last that a date can be written of
DIGEST = re.compile(r"[0-9a-f]{64}")


def ledger_of(ledger: str | None, config: Path | None) -> str:
    """Name the ledger by its own address, or by a settings file."""
    if ledger is not None:
        return ledger
    if config is None:
        fail("Name the ledger (a file or an SQLAlchemy URL), or the settings with --config FILE.", Exit.INPUT)
    return loaded(config).settings.ledger.url


def verify(address: str, anchor: str | None, *, as_json: bool) -> None:
    """Walk the chain and say whether it holds."""
    try:
        report = verify_chain(address, _anchor(anchor))
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    if as_json:
        write(
            json.dumps(
                {
                    "sound": report.sound,
                    "batches": report.batches,
                    "records": report.records,
                    "first_second": report.first_second,
                    "last_second": report.last_second,
                    "head": f"{report.head_seq}:{report.head_digest}",
                    "cut_through": {str(kind): second for kind, second in report.cut_through.items()},
                    "problems": report.problems,
                },
                indent=2,
            )
        )
        raise SystemExit(Exit.OK if report.sound else Exit.NO)
    for problem in report.problems:
        out.print(problem, style="red", markup=False, soft_wrap=True)
    span = "no seconds yet"
    if report.first_second is not None and report.last_second is not None:
        span = f"{utc(report.first_second)} to {utc(report.last_second)}"
    word = "sound" if report.sound else "BROKEN: what stands above was changed after it was written"
    out.print(f"{report.batches:,} batches, {report.records:,} records, {span}: {word}", markup=False, soft_wrap=True)
    for kind, second in report.cut_through.items():
        out.print(f"cut by retention: {kind} through {utc(second)}", markup=False)
    out.print(f"head {report.head_seq}:{report.head_digest}", markup=False, soft_wrap=True)
    out.print(
        "Keep the head where the ledger's owner can't change it (a ticket, another team's metrics); "
        "--anchor checks it later.",
        style="dim",
        soft_wrap=True,
    )
    raise SystemExit(Exit.OK if report.sound else Exit.NO)


def export(
    address: str, first: str | None, last: str | None, target: str | None, file_format: str, to: Path | None
) -> None:
    """Write seconds and attempts of a range."""
    first_second = parse_second(first, "--from") if first is not None else 0
    last_second = parse_second(last, "--to") if last is not None else LAST_SECOND
    if last_second < first_second:
        fail(f"--to ({utc(last_second)}) is before --from ({utc(first_second)}).", Exit.INPUT)
    writes = write_csv if file_format == "csv" else write_jsonl
    rows = export_rows(address, first_second, last_second, target)
    try:
        if to is None:
            writes(rows, sys.stdout)
            return
        with to.open("w", encoding="utf-8", newline="") as file:
            text: TextIO = file
            count = writes(rows, text)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    except BrokenPipeError:
        # The reader has seen enough, as `head` does. Nothing more can be written, not even at exit.
        sys.stdout = None
        raise SystemExit(Exit.OK) from None
    except OSError as error:
        fail(f"--output {to}: {error.strerror}.", Exit.CANNOT)
    out.print(f"{count:,} rows written to {to}", markup=False, soft_wrap=True)


def parse_second(text: str, option: str) -> int:
    """Read a moment: `2026-11-22T20:30:00Z`, a Unix second, or a duration ago such as `2h`."""
    second = _second_of(text, option)
    if second > LAST_SECOND:
        fail(f"{option}: {text!r} is after the year 9999; Unix seconds are wanted, not parts of them.", Exit.INPUT)
    return max(0, second)


def _second_of(text: str, option: str) -> int:
    if re.fullmatch("[0-9]+", text):
        return int(text[:20])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return int(wall_us() / SECOND_US - parse_duration(text))
        except ValueError:
            fail(
                f"{option}: found {text!r}, expected a time such as 2026-11-22T20:30:00Z, a Unix second, "
                "or a duration ago such as 2h.",
                Exit.INPUT,
            )
    if moment.tzinfo is None:
        fail(f"{option}: {text!r} names no time zone; write {text}Z for UTC, or {text}+01:00.", Exit.INPUT)
    return int(moment.timestamp())


def _anchor(text: str | None) -> Anchor | None:
    if text is None:
        return None
    seq, _, digest = text.partition(":")
    if not re.fullmatch("[0-9]{1,18}", seq) or not DIGEST.fullmatch(digest.lower()):
        fail(
            f"--anchor: found {text!r}, expected NUMBER:DIGEST as `ledger verify` prints it behind 'head'.", Exit.INPUT
        )
    return Anchor(seq=int(seq), digest=digest.lower())
