"""Renders a call sheet by the templates beside this module.

Everything on it may come from a server that is out of order: HTML is escaped without exception, and for a terminal
whatever could steer one is taken out.
"""

import textwrap
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from probe.core.callsheet import CallSheet

TEXT_WIDTH = 96


def as_text(sheet: CallSheet) -> str:
    """Write it for a terminal or a printer."""
    return _rendered(sheet, "call_sheet.txt.jinja", autoescape=False)


def as_html(sheet: CallSheet) -> str:
    """Write it as one HTML page without anything from elsewhere."""
    return _rendered(sheet, "call_sheet.html.jinja", autoescape=True)


def _rendered(sheet: CallSheet, template: str, *, autoescape: bool) -> str:
    page = _environment(autoescape=autoescape).get_template(template).render(sheet=sheet)
    # Half a character, which a page's JSON may hold, can't be written to any file.
    return page.encode("utf-8", "replace").decode("utf-8")


@cache
def _environment(*, autoescape: bool) -> Environment:
    made = Environment(
        loader=PackageLoader("probe.issues"),
        autoescape=autoescape,  # noqa: S701 - off for text alone, which no browser reads
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["folded"] = _folded
    return made


def _folded(text: str, indent: str = "") -> str:
    """Fold a line so that what follows is indented."""
    plain = "".join(character if character.isprintable() else "�" for character in text)
    return textwrap.fill(plain, TEXT_WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
