"""The daemon's HTTP listener."""

from probe.web.listener import Listener, ListenerError, Report

__all__ = ["Listener", "ListenerError", "Report"]
