"""What a scraper says it can read, and what it gets (RFC 9110 sections 12.4.2, 12.5.1 and 12.5.3)."""

from collections.abc import Iterator

from probe.metrics.exposition import Format

HEADER_ITEMS_MAX = 64


def _items(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Take a header apart into (name, parameters, weight); what cannot be read has weight 0."""
    for item in header.split(",", HEADER_ITEMS_MAX)[:HEADER_ITEMS_MAX]:
        name, *rest = (part.strip() for part in item.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in pairs}
        yield name.lower(), parameters, _weight(parameters.pop("q", "1"))


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def _format(name: str, parameters: dict[str, str]) -> Format | None:
    """Name the format that a media type asks for, if it is one of ours."""
    match name:
        case "application/vnd.google.protobuf":
            wanted = parameters.get("proto", ""), parameters.get("encoding", "")
            return Format.PROTOBUF if wanted == ("io.prometheus.client.metricfamily", "delimited") else None
        case "application/openmetrics-text":
            return Format.OPENMETRICS if parameters.get("version", "1.0.0") == "1.0.0" else None
        case "text/plain" | "text/*" | "*/*":
            return Format.TEXT
        case _:
            return None


def choose_format(accept: str) -> Format:
    """Give the format with the highest weight, the first named of equals; text if the scraper names none of ours."""
    best, best_weight = Format.TEXT, 0.0
    for name, parameters, weight in _items(accept):
        form = _format(name, parameters)
        if form is not None and weight > best_weight:
            best, best_weight = form, weight
    return best


def gzip_accepted(accept_encoding: str) -> bool:
    """Tell whether the scraper takes gzip; naming it decides over `*`."""
    weights = {name: weight for name, _, weight in _items(accept_encoding) if name}
    return weights.get("gzip", weights.get("*", 0.0)) > 0.0
