"""Issues on paper: the call sheet as text and as one HTML file that needs nothing else, and lives as JSON has them."""

from probe.issues.described import lapses_of, summary_of, whole_of
from probe.issues.render import as_html, as_text

__all__ = ["as_html", "as_text", "lapses_of", "summary_of", "whole_of"]
