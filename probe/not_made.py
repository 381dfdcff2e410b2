"""What is recorded of an attempt that the prober did not make, cut off, or began too late."""

from dataclasses import replace

from probe.clock import SECOND_US
from probe.core.model import REPLY_CHARACTERS_MAX, Cause, Connection, Fault, Outcome, Phase, Ticket


def in_its_second(outcome: Outcome) -> Outcome:
    """Let an attempt that began after the end of its second say nothing of it, whatever it saw.

    It was looked at just before, so the process was put aside between that look and the attempt's first act.
    """
    late_us = outcome.started_us - (outcome.second + 1) * SECOND_US
    if late_us < 0:
        return outcome
    words = f"began {late_us // 1000} ms after the end of its second; else: {outcome.fault} {outcome.cause}"
    return replace(
        outcome,
        fault=Fault.SELF,
        cause=Cause.STALLED,
        reply=f"{words} {outcome.reply}".rstrip()[:REPLY_CHARACTERS_MAX],
        maybe_accepted=outcome.maybe_accepted or outcome.fault is Fault.NONE,
    )


def not_made(ticket: Ticket, started_us: int, cause: Cause, duration_us: int = 0) -> Outcome:
    """Write down an attempt that the prober itself did not make, or cut off."""
    return Outcome(
        target=ticket.target,
        surface=ticket.surface,
        second=ticket.second,
        ordinal=ticket.ordinal,
        started_us=started_us,
        duration_us=duration_us,
        fault=Fault.SELF,
        cause=cause,
        phase=Phase.START,
        message_id=ticket.message_id,
        connection=Connection.NONE,
    )
