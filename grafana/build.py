"""Write the dashboards as JSON: `python -m grafana.build`, or `make dashboards`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import month, on_call, prober

FOLDER: Final = Path(__file__).parent / "dashboards"
BUILDERS: Final[dict[str, Callable[[], Dashboard]]] = {
    "on-call.json": on_call.build,
    "month.json": month.build,
    "prober.json": prober.build,
}


def texts() -> dict[str, str]:
    """Give the text of each file."""
    return {name: _text(build()) for name, build in BUILDERS.items()}


def _text(dashboard: Dashboard) -> str:
    built = dashboard.build()
    # Links to a single panel name it by its number.
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write them all."""
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
