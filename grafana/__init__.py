"""The dashboards, built from code: `python -m grafana.build` writes them to `grafana/dashboards`."""
