"""`once`: one attempt on every surface and control now, phase by phase. What an operator runs first."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.table import Table
from rich.text import Text

from probe import log
from probe.clock import SECOND_US, SystemClock
from probe.commands.settings import loaded
from probe.commands.status import reply_line
from probe.commands.terminal import Exit, err, fail, out
from probe.core.model import Cause, ControlOutcome, Fault, Outcome, Surface, Ticket
from probe.settings import Control, Settings, SettingsError, Smtp, Target
from probe.workshop import Workshop

# Far from what a daemon of the same vantage uses in the same second, so that both sides' logs can tell them apart.
ONCE_ORDINAL = 99
BAR_WIDTH = 30

MEANING = {
    Fault.NONE: "accepted",
    Fault.SERVER_TIMEOUT: "counts against the provider: server-side timeout",
    Fault.SERVER_ERROR: "counts against the provider: internal service error",
    Fault.CLIENT: "does not count: our request, credentials, quota or pace",
    Fault.NETWORK: "counts only while a control of the same second works",
    Fault.SELF: "does not count: our own host",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One attempt and where it went."""

    title: str
    outcome: Outcome


def once(path: Path, target_name: str | None) -> None:
    """Attempt every surface of every target, or of one, and show what happened."""
    result = loaded(path)
    targets = [t for t in result.settings.targets if target_name in (None, t.name)]
    if not targets:
        names = ", ".join(target.name for target in result.settings.targets)
        fail(f"{path}: no target is named {target_name!r}; the file has: {names}.", Exit.INPUT)
    for warning in result.warnings:
        err.print(warning, style="yellow" if err.is_terminal else None, markup=False)
    writer = log.set_up(result.settings.log.format, "error")
    try:
        failed = uvloop.run(_attempt_all(result.settings, targets))
    except SettingsError as error:
        fail(str(error), Exit.INPUT)
    finally:
        writer.close()
    raise SystemExit(Exit.NO if failed else Exit.OK)


async def _attempt_all(settings: Settings, targets: list[Target]) -> int:
    workshop = Workshop(SystemClock())
    workshop.others.name(settings.resolvers)
    try:
        return await _attempt_each(workshop, settings, targets)
    finally:
        await workshop.close()


async def _attempt_each(workshop: Workshop, settings: Settings, targets: list[Target]) -> int:
    failed = 0
    for target in targets:
        for surface in target.surfaces:
            shown = await _attempt(workshop, settings, target, surface)
            _show(shown)
            if shown.outcome.cause is Cause.STOPPED:  # Ctrl-C: the user wants no further attempts either.
                raise asyncio.CancelledError
            failed += shown.outcome.fault is not Fault.NONE
    for control in settings.controls:
        _show_control(control, await _attempt_control(workshop, control))
    return failed


async def _attempt(workshop: Workshop, settings: Settings, target: Target, surface: Surface) -> Shown:
    now_us = workshop.clock.now_us()
    ticket = Ticket(
        target=target.name,
        vantage=settings.vantage,
        surface=surface,
        second=now_us // SECOND_US,
        ordinal=ONCE_ORDINAL,
    )
    part = target.api if surface is Surface.API else target.smtp
    assert part is not None
    prober = workshop.surface(target, surface, settings.vantage)
    try:
        outcome = await prober.attempt(ticket, workshop.clock.monotonic_us() + round(part.timeout_s * SECOND_US))
    finally:
        prober.close()
    where = (
        f"SMTP {part.host}:{part.port} ({part.tls})" if isinstance(part, Smtp) else f"POST {part.base_url}{part.path}"
    )
    return Shown(title=f"{target.name} {surface}: {where}", outcome=outcome)


async def _attempt_control(workshop: Workshop, control: Control) -> ControlOutcome:
    surface = workshop.control(control)
    try:
        return await surface.attempt(workshop.clock.now_us() // SECOND_US)
    finally:
        surface.close()


def _show(shown: Shown) -> None:
    outcome = shown.outcome
    good = outcome.fault is Fault.NONE
    out.print(Text(shown.title, style="bold"), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("phase")
    table.add_column("ms", justify="right")
    table.add_column("")
    longest_us = max((duration_us for _, duration_us in outcome.phases), default=1) or 1
    for phase, duration_us in outcome.phases:
        here = not good and phase is outcome.phase
        bar = "#" * max(1, round(BAR_WIDTH * duration_us / longest_us))
        note = "  <- ended here" if here else ""
        table.add_row(phase, f"{duration_us / 1000:.1f}", Text(bar + note, style="red" if here else "cyan"))
    out.print(table)
    facts = {
        "outcome": f"{outcome.fault} / {outcome.cause}: {MEANING[outcome.fault]}",
        "reply": reply_line(outcome.code, outcome.enhanced_code, outcome.reply) or "(none)",
        "took": f"{outcome.duration_us / 1000:.1f} ms; connection: {outcome.connection}, to {outcome.address or '-'}",
        "message": outcome.message_id,
    }
    if outcome.maybe_accepted and not good:
        facts["mind"] = "the server may have taken the message all the same"
    for name, fact in facts.items():
        style = ("green" if good else "red") if name == "outcome" else ""
        out.print(Text(f"  {name:<8} ") + Text(fact, style=style), soft_wrap=True)
    out.print()


def _show_control(control: Control, outcome: ControlOutcome) -> None:
    word = "worked" if outcome.worked else f"failed ({outcome.cause})"
    where = control.url or control.address
    style = "green" if outcome.worked else "red"
    took = f" in {outcome.duration_us / 1000:.1f} ms"
    out.print(Text(f"control {control.name} ({control.kind} {where}): ") + Text(word, style=style) + Text(took))
