"""One YAML file and its secrets, read into frozen settings."""

from probe.settings.kinds import PLACEHOLDER_PATTERN, PLACEHOLDERS, REDACTED
from probe.settings.load import Loaded, load
from probe.settings.model import (
    Api,
    Connections,
    Contract,
    Control,
    Ledger,
    Listener,
    Log,
    PersistenceTerms,
    Settings,
    Smtp,
    Target,
)
from probe.settings.problem import Problem, SettingsError

__all__ = [
    "PLACEHOLDERS",
    "PLACEHOLDER_PATTERN",
    "REDACTED",
    "Api",
    "Connections",
    "Contract",
    "Control",
    "Ledger",
    "Listener",
    "Loaded",
    "Log",
    "PersistenceTerms",
    "Problem",
    "Settings",
    "SettingsError",
    "Smtp",
    "Target",
    "load",
]
