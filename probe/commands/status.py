"""`status`: what a running daemon sees now, through its listener."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from probe.commands.settings import loaded
from probe.commands.terminal import Exit, fail, out, write

TIMEOUT_S = 5.0
DETAIL_BYTES_MAX = 64 * 1024
STRIP_SECONDS = 60

# The letters of the status body's `recent`, as cells of a strip.
CELLS: Mapping[str, tuple[str, str]] = {
    "A": ("▁", "green"),
    "U": ("█", "bold red"),
    "u": ("▓", "bold red"),
    "I": ("?", "yellow"),
    "-": ("·", "dim"),
}
LEGEND = "▁ available  █ unavailable  ▓ unavailable (corroborated)  ? inconclusive  · unobserved"


class Unreachable(Exception):
    """The listener did not answer; str() is a sentence."""


def listener_url(path: Path) -> str:
    """Return the listener's address by a settings file."""
    listener = loaded(path).settings.listener
    if not listener.port:
        fail(f"{path}: listener.port is 0, so only the daemon's log knows it; name it with --url.", Exit.INPUT)
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    return f"{'http' if listener.tls_key is None else 'https'}://{host}:{listener.port}"


def fetch(url: str, *, token: str = "", ca_file: Path | None = None) -> dict[str, Any]:
    """Return the status body of the daemon that listens there; raises Unreachable."""
    request = urllib.request.Request(  # noqa: S310 - the scheme is looked at before
        f"{url.rstrip('/')}/api/v1/status", headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    try:
        tls = ssl.create_default_context(cafile=ca_file)
        # Without any proxy: the listener is on loopback or on our own network.
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S) as reply:
            body = json.loads(reply.read())
    except urllib.error.HTTPError as error:
        raise Unreachable(f"The daemon at {url} refused: {_detail(error)}") from error
    except (OSError, ValueError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", None) or error
        said = getattr(reason, "strerror", None) or reason
        raise Unreachable(f"No daemon answers at {url}: {said}.") from error
    if not isinstance(body, dict) or "targets" not in body:
        raise Unreachable(f"What answers at {url} is not sev1probe.")
    return body


def _detail(error: urllib.error.HTTPError) -> str:
    with error:
        try:
            return str(json.loads(error.read(DETAIL_BYTES_MAX))["detail"])
        except (OSError, ValueError, KeyError, TypeError):
            return f"status {error.code}."


def status(url: str, *, as_json: bool, token_file: Path | None = None, ca_file: Path | None = None) -> None:
    """Show what the daemon sees; NO if a Critical Issue is open, or the daemon is in trouble, blind or can't tell."""
    if not url.startswith(("http://", "https://")):
        fail(f"--url: found {url!r}, expected http://HOST:PORT.", Exit.INPUT)
    if token_file is not None and url.startswith("http://"):
        fail("--token-file: a token is sent to an https URL only.", Exit.INPUT)
    try:
        token = "" if token_file is None else token_file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        fail(f"--token-file {token_file}: there is no token in it that can be read.", Exit.INPUT)
    try:
        body = fetch(url, token=token, ca_file=ca_file)
    except Unreachable as error:
        fail(f"{error} Is it running, and does --url or --config name its listener?", Exit.CANNOT)
    if as_json:
        write(json.dumps(body, indent=2))
    else:
        out.print(picture(body))
    raise SystemExit(Exit.NO if is_bad(body) else Exit.OK)


def is_bad(body: Mapping[str, Any]) -> bool:
    """Say whether somebody has to look: at the provider, or at the daemon. An older one says nothing of some of it."""
    trouble = body["ledger"]["trouble"] or body["settings"]["trouble"] or body.get("conditions")
    can_not_tell = any(seen["trouble"] for seen in body.get("couriers", {}).values())
    return bool(trouble or can_not_tell or any(target["critical_issue"] for target in body["targets"]))


def picture(body: Mapping[str, Any]) -> Group:
    """Draw the status for people."""
    ledger = body["ledger"]
    head = Text(f"vantage {body['vantage']}, version {body['version']}, up since {body['started']}", style="dim")
    record = Text(f"ledger: batch {ledger['head_sequence']}, head {ledger['head_digest'][:16]}", style="dim")
    parts: list[Any] = [head, record]
    if ledger["trouble"]:
        parts.append(Text(f"THE LEDGER CAN'T BE WRITTEN: {ledger['trouble']}", style="bold red"))
    if body["settings"]["trouble"]:
        parts.append(Text(f"OLD SETTINGS ARE KEPT: {body['settings']['trouble']}", style="bold red"))
    # A daemon of an older version says nothing of these.
    parts += [_condition(condition) for condition in body.get("conditions", ())]
    parts += [_courier(name, seen) for name, seen in body.get("couriers", {}).items() if seen["trouble"]]
    if body.get("clock") is not None:
        parts.append(_clock(body["clock"]))
    parts += [part for target in body["targets"] for part in _target(target)]
    parts += [_control(name, seen) for name, seen in body["controls"].items()]
    if "network_faults" in body:
        parts.append(Text(body["network_faults"], style="dim" if body["controls"] else "yellow"))
    parts.append(Text(LEGEND, style="dim"))
    return Group(*parts)


def _target(target: Mapping[str, Any]) -> list[Any]:
    issue = target["critical_issue"]
    title = Text(f"\n{target['target']}: ", style="bold") + Text(target["verdict"], style=_style(target["verdict"]))
    if issue is not None:
        title += Text(f"   CRITICAL ISSUE {issue['issue']} open since {issue['since']}", style="bold white on red")
    table = Table(box=None, pad_edge=False)
    table.add_column("surface")
    table.add_column(f"last {STRIP_SECONDS} s, newest right")
    for name in ("available", "unavailable", "inconclusive", "unobserved", "run"):
        table.add_column(name, justify="right")
    for surface, seen in target["surfaces"].items():
        totals = seen["totals"]
        table.add_row(
            surface,
            strip(seen["recent"]),
            f"{totals['available_seconds']:,}",
            f"{totals['unavailable_seconds']:,}",
            f"{totals['inconclusive_seconds']:,}",
            f"{totals['unobserved_seconds']:,}",
            f"{totals['unavailable_run_seconds']:,}",
        )
    failures = [
        Text(f"  {surface}: last failure {failure_line(seen['last_failure'])}", style="yellow")
        for surface, seen in target["surfaces"].items()
        if seen["last_failure"]
    ]
    suspected = [
        Text(
            f"  {surface}: {seen['suspected_seconds']:,} s with credentials refused that worked before and after: "
            "decide whose fault that was",
            style="yellow",
        )
        for surface, seen in target["surfaces"].items()
        if seen.get("suspected_seconds")
    ]
    issues = [line for known in target.get("issues", ()) for line in _issue(known)]
    cases = [line for known in target.get("cases", ()) for line in _case(known)]
    return [title, *issues, *cases, table, *failures, *suspected]


def _issue(known: Mapping[str, Any]) -> list[Text]:
    """Say where an issue stands, and what is owed in it."""
    return [Text(f"  {known['issue']}: {known['stage']}", style="bold"), *_owed(known)]


def _case(known: Mapping[str, Any]) -> list[Text]:
    """Say where a Support Case stands, and what is owed in it."""
    line = f"  {known['case']}: {known['stage']}, {known['title']}"
    counted = f" ({known['unavailable_seconds']:,} Unavailable seconds)" if known["unavailable_seconds"] else ""
    review = f"; see sev1probe case show {known['case']}" if known["stage"] == "draft" else ""
    return [Text(line + counted + review, style="yellow"), *_owed(known)]


def _owed(known: Mapping[str, Any]) -> list[Text]:
    lines = []
    for one in known["obligations"]:
        style = {"pending": "yellow", "missed": "bold red"}.get(one["state"], "dim")
        came = f", came {one['met']}" if one["met"] and one["state"] == "missed" else ""
        lines.append(Text(f"    {one['owed_by']}: {one['obligation']} {one['state']}, due {one['due']}{came}", style))
    return lines


def strip(recent: str, seconds: int = STRIP_SECONDS) -> Text:
    """Draw the last seconds of one surface, a cell each, newest right."""
    text = Text()
    for letter in recent[-seconds:].rjust(seconds):
        cell, style = CELLS.get(letter, (" ", ""))
        text.append(cell, style)
    return text


def failure_line(failure: Mapping[str, Any]) -> str:
    """Say in one line what a failed attempt saw."""
    status = reply_line(failure["code"], failure["enhanced_code"], failure["reply"])
    line = f"{failure['time']} {failure['fault']}/{failure['cause']} in phase {failure['phase']}"
    return f"{line}: {status}" if status else line


def reply_line(code: int, enhanced_code: str, reply: str) -> str:
    """Write a reply as a log has it; an SMTP reply's text holds its enhanced code already."""
    shown = "" if enhanced_code and reply.startswith(enhanced_code) else enhanced_code
    return " ".join(part for part in (str(code or ""), shown, reply) if part)


def _style(verdict: str) -> str:
    return {"available": "green", "unavailable": "bold red", "inconclusive": "yellow"}.get(verdict, "dim")


def _courier(name: str, seen: Mapping[str, Any]) -> Text:
    line = f"Courier {name} has told nothing since {seen['failing_since']}, {seen['waiting']} notices wait"
    return Text(f"{line}: {seen['trouble']}", style="bold red")


def _condition(condition: Mapping[str, Any]) -> Text:
    line = f"THE PROBER IS {condition['condition'].upper()} for {condition['target']} since {condition['since']}"
    return Text(f"{line}: {condition['words']}", style="bold white on red")


def _clock(clock: Mapping[str, Any]) -> Text:
    state = clock["synchronisation"]
    if state == "unknown":
        return Text("clock: the kernel does not say whether it is synchronised", style="yellow")
    errors = f"estimated error {clock['estimated_error_s']:.6f} s, at most {clock['maximum_error_s']:.6f} s"
    return Text(f"clock: {state}, {errors}", style="dim" if state == "synchronised" else "bold yellow")


def _control(name: str, seen: Mapping[str, Any] | None) -> Text:
    if seen is None:
        return Text(f"control {name}: not tried yet", style="dim")
    text = Text(f"control {name}: ")
    if seen["worked"] is not None:
        text += Text("works", style="green") if seen["worked"] else Text(f"fails ({seen['cause']})", style="red")
    if seen.get("success_ratio") is not None:
        text += Text(f"  {seen['success_ratio']:.2%} of its attempts worked", style="dim")
    if seen.get("trusted") is False:
        text += Text("  NOT TRUSTED: it is flaky itself, so its word does not count", style="bold yellow")
    return text
