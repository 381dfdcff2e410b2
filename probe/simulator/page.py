"""The status page of the simulated provider: two documents as Statuspage's API version 2 writes them."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from aiohttp import web

from probe.clock import SECOND_US, wall_us

NOTICES_MAX = 1_000
TEXT_CHARACTERS_MAX = 500
MAINTENANCE_S = 3_600  # what an announced maintenance takes if nothing else is said
_PAGE_ID = "simulatedpage"
_COMPONENTS = ("API", "SMTP")


class Impact(StrEnum):
    """How bad an incident is by the page's own word."""

    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


_INDICATED = {
    Impact.NONE: "All Systems Operational",
    Impact.MINOR: "Minor Service Outage",
    Impact.MAJOR: "Partial System Outage",
    Impact.CRITICAL: "Major Service Outage",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What stands on the page: an incident, or a maintenance that is announced for the time from now on."""

    text: str
    impact: Impact = Impact.MAJOR
    is_maintenance: bool = False


class SimulatedPage:
    """Says on loopback what it was told to say. The page is dated by its last change, so the same page has one text."""

    def __init__(self, *, read_wall_us: Callable[[], int] = wall_us) -> None:
        self._read_wall_us = read_wall_us
        self._notices: dict[Notice, int] = {}
        self._changed_us = read_wall_us()
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.asked: list[str] = []

    def show(self, notice: Notice) -> None:
        """Put a notice on the page."""
        self._changed_us = self._read_wall_us()
        self._notices[notice] = self._changed_us

    def take_down(self, notice: Notice) -> None:
        """Take a notice off the page; nothing if it is not there."""
        if self._notices.pop(notice, None) is not None:
            self._changed_us = self._read_wall_us()

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; OSError if the port can't be had."""
        app = web.Application()
        app.router.add_get("/api/v2/summary.json", self._summary)
        app.router.add_get("/api/v2/scheduled-maintenances.json", self._maintenances)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _summary(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        incidents = [notice for notice in self._notices if not notice.is_maintenance]
        order = list(Impact)
        worst = max((notice.impact for notice in incidents), key=order.index, default=Impact.NONE)
        state = "operational" if worst is Impact.NONE else "partial_outage"
        return web.json_response(
            {
                "page": self._page(),
                "components": [{"id": _id(name), "name": name, "status": state} for name in _COMPONENTS],
                "incidents": [self._incident(notice) for notice in incidents],
                "scheduled_maintenances": self._scheduled(),
                "status": {"indicator": str(worst), "description": _INDICATED[worst]},
            }
        )

    async def _maintenances(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.json_response({"page": self._page(), "scheduled_maintenances": self._scheduled()})

    def _page(self) -> dict[str, Any]:
        return {
            "id": _PAGE_ID,
            "name": "Simulated provider",
            "url": "https://status.example.com",
            "time_zone": "Etc/UTC",
            "updated_at": _moment(self._changed_us),
        }

    def _incident(self, notice: Notice) -> dict[str, Any]:
        since = _moment(self._notices[notice])
        return {
            "id": _id(notice.text),
            "name": notice.text,
            "status": "investigating",
            "impact": str(notice.impact),
            "created_at": since,
            "updated_at": since,
            "resolved_at": None,
            "page_id": _PAGE_ID,
        }

    def _scheduled(self) -> list[dict[str, Any]]:
        return [
            self._incident(notice)
            | {
                "status": "scheduled",
                "impact": "maintenance",
                "scheduled_for": _moment(since_us),
                "scheduled_until": _moment(since_us + MAINTENANCE_S * SECOND_US),
            }
            for notice, since_us in self._notices.items()
            if notice.is_maintenance
        ]


def _id(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12]


def _moment(moment_us: int) -> str:
    return datetime.fromtimestamp(moment_us / SECOND_US, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
