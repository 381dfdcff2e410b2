"""The call sheet as a page: text for a terminal, and one HTML file that needs nothing else."""

from probe.issues.render import as_html, as_text

__all__ = ["as_html", "as_text"]
