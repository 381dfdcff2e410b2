"""The daemon's HTTP listener."""

from probe.web.api import Api
from probe.web.cases import CaseDesk, SupportCases, TellCase
from probe.web.issues import Desk, Issues, Tell
from probe.web.listener import Listener, Report
from probe.web.place import ListenerError
from probe.web.problem import Unavailable
from probe.web.resources import Decide, Record, Resources
from probe.web.tokens import TokenBook

__all__ = [
    "Api",
    "CaseDesk",
    "Decide",
    "Desk",
    "Issues",
    "Listener",
    "ListenerError",
    "Record",
    "Report",
    "Resources",
    "SupportCases",
    "Tell",
    "TellCase",
    "TokenBook",
    "Unavailable",
]
