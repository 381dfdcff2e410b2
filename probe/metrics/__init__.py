"""The daemon's metrics and their exposition."""

from probe.metrics.metrics import Metrics

__all__ = ["Metrics"]
