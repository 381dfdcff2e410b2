"""The provider's own words: its status pages, asked now and then and kept word for word. They change no verdict."""

from probe.pages.page import BODY_BYTES_MAX, DOCUMENTS, Page, source_of
from probe.pages.pollers import PageCharge, Pollers

__all__ = ["BODY_BYTES_MAX", "DOCUMENTS", "Page", "PageCharge", "Pollers", "source_of"]
