"""The call sheet of an issue, made of the record and the settings, for whoever asks: a command, the log, a courier."""

import asyncio
from collections.abc import Callable
from datetime import tzinfo

import structlog

from probe.clock import SECOND_US, Clock, local_zone
from probe.core.callsheet import CallSheet, Facts, call_sheet
from probe.core.lives import NO_LIVES, Life
from probe.core.obligations import obligations
from probe.core.tam import words_of
from probe.issues import as_text
from probe.ledger import LedgerError, evidence_of, lives_in, statements_of
from probe.settings import Contract, Settings, contacts_of, contract_of, pledges_of, tam_of

log = structlog.get_logger("daemon")

# So long a page may wait for what goes with it; then it goes alone.
WRITE_S_MAX = 3.0


def sheet_of(address: str, life: Life, settings: Settings | None, zone: tzinfo, now_us: int) -> CallSheet:
    """Write the call sheet of an issue; without settings nothing is known of people and numbers.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    state, pledges = life.procedure, pledges_of(settings, life.target)
    contract = None if settings is None else contract_of(settings, life.target)
    tam = tam_of(settings, life.target, now_us)
    last_second = state.restored_us // SECOND_US - 1 if state.restored_us else None
    return call_sheet(
        Facts(
            life=life,
            contacts=contacts_of(settings, life.target),
            profile=(contract or Contract()).profile,
            pledges=pledges,
            vantage="this host" if settings is None else settings.vantage,
            evidence=evidence_of(address, life.target, state.opened_us // SECOND_US, last_second),
            statements=statements_of(address, (state.over_us or now_us) // SECOND_US),
            owed=obligations(life, pledges, now_us),
            zone=zone,
            now_us=now_us,
            tam="" if tam is None else words_of(tam, zone),
        )
    )


class Sheets:
    """Writes call sheets for the daemon, in a thread, from its ledger and the settings as they are."""

    def __init__(self, address: str, settings: Callable[[], Settings | None], clock: Clock) -> None:
        self._address = address
        self._settings = settings
        self._clock = clock

    def write(self, life: Life) -> CallSheet:
        """Write one; it waits for the disk.

        Raises:
            LedgerError: If the ledger can't be read.
        """
        return sheet_of(self._address, life, self._settings(), local_zone(), self._clock.now_us())

    async def text_of(self, target: str, issue: str) -> str:
        """Write one as text, by any name of its issue; "" where that can't be done in time, which the log says."""
        try:
            async with asyncio.timeout(WRITE_S_MAX):
                return await asyncio.to_thread(self._text_of, target, issue)
        except (LedgerError, TimeoutError) as error:
            reason = str(error) or f"the ledger did not answer within {WRITE_S_MAX:g} s"
            log.error("call_sheet.not_written", target=target, issue=issue, reason=reason)
            return ""

    def _text_of(self, target: str, issue: str) -> str:
        life = lives_in(self._address, target).get(target, NO_LIVES).get(issue)
        return "" if life is None else as_text(self.write(life))
