"""Colours and words with one meaning on all dashboards.

The colours are those of Okabe and Ito, which people with any kind of colour blindness tell apart. A colour says whose
failure it is: green nobody's, vermilion theirs, orange theirs by the word of our controls (or: soon to be bad), blue
ours, grey that nobody looked. No colour stands without a word beside it.
"""

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    DynamicConfigValue,
    FieldColorModeId,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

from probe.core.case_obligations import CaseDuty
from probe.core.model import Basis, Fault, Phase, Verdict
from probe.core.obligations import Duty, ObligationState

GOOD: Final = "#009E73"
THEIRS: Final = "#D55E00"
BETWEEN: Final = "#E69F00"
OURS: Final = "#0072B2"
NOBODY: Final = "#999999"
# For what is neither good nor bad.
PLAIN: Final = "#56B4E9"
OTHER: Final = "#CC79A7"
THIRD: Final = "#F0E442"

# Below all values that are shown.
LOWEST: Final = -1e9

Word = tuple[str, str]  # what is read, and its colour

# What one step of the strip of seconds was, by the worst second in it. The queries make these numbers.
AVAILABLE, UNOBSERVED, INCONCLUSIVE, CORROBORATED, LITERAL, WORKED, FAILED = range(1, 8)
STRIP_WORDS: Final[Mapping[int, Word]] = {
    AVAILABLE: (Verdict.AVAILABLE, GOOD),
    UNOBSERVED: (Verdict.UNOBSERVED, NOBODY),
    INCONCLUSIVE: (Verdict.INCONCLUSIVE, OURS),
    CORROBORATED: (f"{Verdict.UNAVAILABLE} ({Basis.CORROBORATED})", BETWEEN),
    LITERAL: (f"{Verdict.UNAVAILABLE} ({Basis.LITERAL})", THEIRS),
    WORKED: ("control worked", GOOD),
    FAILED: ("control failed", OURS),
}
# The answer to "them or us?", worst last.
NOBODY_S, UNOBSERVED_LATELY, US, BLIND, THEM_CORROBORATED, THEM, CRITICAL_ISSUE = range(7)
ANSWERS: Final[Mapping[int, Word]] = {
    NOBODY_S: ("neither: available", GOOD),
    UNOBSERVED_LATELY: ("US: unobserved seconds", NOBODY),
    US: ("US: inconclusive", OURS),
    BLIND: ("US: the prober is blind", OURS),
    THEM_CORROBORATED: ("THEM, say our controls", BETWEEN),
    THEM: ("THEM: unavailable", THEIRS),
    CRITICAL_ISSUE: ("THEM: Critical Issue", THEIRS),
}
# The prober itself, worst last.
LOOKS, UNWRITTEN, SEES_NOTHING, DOWN = range(4)
PROBER_WORDS: Final[Mapping[int, Word]] = {
    LOOKS: ("looks and records", GOOD),
    UNWRITTEN: ("ledger not written", BETWEEN),
    SEES_NOTHING: ("blind", OURS),
    DOWN: ("not scraped", OURS),
}
FAULT_WORDS: Final[Mapping[str, Word]] = {
    Fault.NONE: ("accepted", GOOD),
    Fault.SERVER_TIMEOUT: ("theirs: server timeout", THEIRS),
    Fault.SERVER_ERROR: ("theirs: server error", THEIRS),
    Fault.NETWORK: ("between: network", BETWEEN),
    Fault.CLIENT: ("ours: client", OURS),
    Fault.SELF: ("ours: the prober", OURS),
}
# What was due and has not come until now; the query tells it from what came late.
OVERDUE: Final = "overdue"
CAME_LATE: Final = "came_late"
OBLIGATION_WORDS: Final[Mapping[str, Word]] = {
    Duty.CALL_LINE: ("we call the Severity 1 line", "text"),
    Duty.SUBMIT_CASE: ("we submit a Support Case", "text"),
    Duty.CALL_BACK: ("they call back within 15 minutes", "text"),
    Duty.UPDATE: ("they give an update", "text"),
    CaseDuty.RESPOND: ("they answer in Business Hours", "text"),
    ObligationState.PENDING: ("pending", BETWEEN),
    OVERDUE: ("overdue", THEIRS),
    CAME_LATE: ("came late", BETWEEN),
    ObligationState.MISSED: ("missed", THEIRS),
}
# Connecting is dashed, the service itself is drawn through, so that few colours do for many phases.
CONNECTING: Final = (Phase.LOOKUP, Phase.CONNECT, Phase.TLS, Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.AUTH)
SERVING: Final = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL, Phase.REQUEST, Phase.FIRST_BYTE, Phase.BODY)
LINE_COLOURS: Final = (PLAIN, OTHER, THIRD, GOOD, BETWEEN, THEIRS, NOBODY)


def words(known: Mapping[int, Word] | Mapping[str, Word]) -> list[ValueMapping]:
    """Have values read as these words, in these colours."""
    results = {
        str(value): ValueMappingResult(text=str(text), color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(known.items())
    }
    return [ValueMap(options=results)]


def yes_and_no(yes: Word, no: Word) -> list[ValueMapping]:
    """Have 1 and 0 read as these words, and no number as not known."""
    return [*words({1: yes, 0: no}), unknown("not known")]


def unknown(text: str) -> SpecialValueMap:
    """Have NaN and null read as this, in grey."""
    result = ValueMappingResult(text=text, color=NOBODY)
    return SpecialValueMap(options=DashboardSpecialValueMapOptions(match=SpecialValueMatch.NULL_AND_NAN, result=result))


def empty(text: str) -> SpecialValueMap:
    """Have an empty word read as this."""
    result = ValueMappingResult(text=text)
    return SpecialValueMap(options=DashboardSpecialValueMapOptions(match=SpecialValueMatch.EMPTY, result=result))


def from_value(colour: str, *steps: tuple[float, str]) -> ThresholdsConfig:
    """Colour by value: the first colour below all steps, each other from its value on."""
    first = [Threshold(value=None, color=colour)]
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps(first + [Threshold(value=value, color=other) for value, other in steps])
    )


def known(colour: str, *steps: tuple[float, str]) -> ThresholdsConfig:
    """Colour by value, and leave in grey what is not known: Grafana gives the words for no value the first colour."""
    return from_value(NOBODY, (LOWEST, colour), *steps)


def by_threshold() -> FieldColor:
    """Colour by the thresholds."""
    return FieldColor().mode(FieldColorModeId.THRESHOLDS)


def fixed(colour: str) -> FieldColor:
    """Give one colour to all."""
    return FieldColor().mode(FieldColorModeId.FIXED).fixed_color(colour)


def coloured(colour: str, *, shades: bool = False) -> DynamicConfigValue:
    """Override the colour of one series, or give shades of it to several."""
    mode = FieldColorModeId.SHADES if shades else FieldColorModeId.FIXED
    return DynamicConfigValue(id_val="color", value={"mode": mode, "fixedColor": colour})


def named(text: str) -> DynamicConfigValue:
    """Override what a series or column is called."""
    return DynamicConfigValue(id_val="displayName", value=text)


def as_unit(unit: str) -> DynamicConfigValue:
    """Override the unit of a column."""
    return DynamicConfigValue(id_val="unit", value=unit)


def decimals(number: int) -> DynamicConfigValue:
    """Override how many decimals a column has."""
    return DynamicConfigValue(id_val="decimals", value=number)


def as_words(mappings: list[ValueMapping]) -> DynamicConfigValue:
    """Override the words of a column."""
    return DynamicConfigValue(id_val="mappings", value=mappings)


def linked(title: str, url: str) -> DynamicConfigValue:
    """Have a column's words lead somewhere."""
    return DynamicConfigValue(id_val="links", value=[{"title": title, "url": url}])


def dashed() -> DynamicConfigValue:
    """Draw a line of dashes."""
    return DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [6, 6]})


def coloured_text() -> DynamicConfigValue:
    """Show a column's words in their colours."""
    return DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"})
