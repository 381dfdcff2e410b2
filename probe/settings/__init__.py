"""One YAML file and its secrets, read into frozen settings."""

from probe.settings.cases import CaseSettings, Relay
from probe.settings.contacts import business_hours_of, case_pledges_of, contacts_of, contract_of, pledges_of, tam_of
from probe.settings.courier import Courier
from probe.settings.effective import effective
from probe.settings.hours import BusinessHoursException
from probe.settings.kinds import PLACEHOLDER_PATTERN, PLACEHOLDERS, REDACTED
from probe.settings.load import Loaded, load
from probe.settings.model import (
    Contract,
    Control,
    Ledger,
    Listener,
    Log,
    PersistenceTerms,
    Settings,
    StatusPage,
    Target,
)
from probe.settings.problem import Problem, SettingsError
from probe.settings.schema import schema_text
from probe.settings.surface import Api, Connections, Smtp

__all__ = [
    "PLACEHOLDERS",
    "PLACEHOLDER_PATTERN",
    "REDACTED",
    "Api",
    "BusinessHoursException",
    "CaseSettings",
    "Connections",
    "Contract",
    "Control",
    "Courier",
    "Ledger",
    "Listener",
    "Loaded",
    "Log",
    "PersistenceTerms",
    "Problem",
    "Relay",
    "Settings",
    "SettingsError",
    "Smtp",
    "StatusPage",
    "Target",
    "business_hours_of",
    "case_pledges_of",
    "contacts_of",
    "contract_of",
    "effective",
    "load",
    "pledges_of",
    "schema_text",
    "tam_of",
]
