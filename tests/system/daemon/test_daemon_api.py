"""The API of a running daemon, from the token on the command line to the record in the chain."""

import json
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import schemathesis
import trustme
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Daemon, Provider, Start

Case = schemathesis.Case[Any]
Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
CASES = "/api/v1/cases"
AMENDMENTS = "/api/v1/amendments"
LIMITS = hypothesis.settings(
    max_examples=15,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
TOKENS = {"listener": {"port": 0, "tokens_file": "tokens.json"}}


def ask(
    url: str,
    method: str = "GET",
    body: object = None,
    *,
    token: str = "",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> tuple[int, dict[str, Any], str]:
    """Ask the API; return status, body and ETag."""
    sent = {"If-Match": headers.pop("if_match")} if "if_match" in headers else {}
    if token:
        sent["Authorization"] = f"Bearer {token}"
    data = None
    if body is not None:
        data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
    request = urllib.request.Request(url, data=data, method=method, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=10, context=tls) as reply:
            return reply.status, json.loads(reply.read()), reply.headers.get("ETag", "")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), ""


def token_of(command: "Command", config: Path, name: str) -> str:
    """Make a token by the command."""
    ended = command("token", "create", "--config", config, "--name", name)
    assert ended.code == 0, ended
    token = ended.out.strip()
    assert token not in ended.err
    return token


def window(daemon: "Daemon") -> dict[str, Any]:
    """Describe a window that holds the daemon's last seconds."""
    last = daemon.status()["last_second"]
    agreed = {"exclusion": "agreed_exclusion", "reason": "agreed by phone", "surface": "smtp"}
    return {"first_second": last - 1_000, "last_second": last, "target": "main", **agreed}


def test_an_amendment_through_the_api_is_sealed_in_the_chain(
    start: "Start", command: "Command", target: Describe, settings: Write, provider: "Provider", tmp_path: Path
) -> None:
    """The command's amendments and the API's are the same record, and the token's holder is the author."""
    config = settings(target(), **TOKENS)
    daemon = start(config)
    daemon.wait_for_seconds(2)
    token = token_of(command, config, "nina")
    place = daemon.url + AMENDMENTS
    wanted = window(daemon)
    assert ask(place, "POST", wanted)[0] == 401
    code, added, etag = ask(place, "POST", wanted, token=token)
    assert (code, added["author"]) == (201, "nina"), added

    listed = json.loads(command("ledger", "amendments", tmp_path / "ledger.sqlite3", "--json").out)
    assert listed == [added] == ask(place)[1]["amendments"]
    back = command(
        "ledger", "amend", "-c", config, "--withdraw", added["amendment"], "--author", "otto", "--reason", "no"
    )
    assert back.code == 0, back
    withdrawal = f"{place}/{added['amendment']}/withdrawal"
    assert ask(withdrawal, "POST", {"reason": "no"}, token=token, if_match=etag)[0] == 412
    etag = ask(f"{place}/{added['amendment']}")[2]
    code, refusal, _ = ask(withdrawal, "POST", {"reason": "no"}, token=token, if_match=etag)
    assert (code, "withdrawn already, by otto" in refusal["detail"]) == (422, True)

    assert command("token", "revoke", "--config", config, "--name", "nina").code == 0
    assert ask(place, "POST", wanted, token=token)[0] == 401
    listed_tokens = command("token", "list", "--config", config, "--json")
    assert json.loads(listed_tokens.out) == []
    assert daemon.end()[0] == 0
    verified = command("ledger", "verify", tmp_path / "ledger.sqlite3")
    assert (verified.code, "sound" in verified.out) == (0, True)
    files = [file for file in tmp_path.iterdir() if file.is_file()]
    assert any(file.name == "daemon-1.log" for file in files)
    assert not [file.name for file in files if token.encode() in file.read_bytes()]


def test_an_issue_is_seen_through_to_its_resolution(
    start: "Start", command: "Command", target: Describe, settings: Write, provider: "Provider"
) -> None:
    """What people tell through the API is the same life that the commands show, and the second sees the first's."""
    config = settings(target(), **TOKENS)
    daemon = start(config)
    provider.set("smtp", "reply", phase="banner", reply="421 4.3.2 Service not available")
    issues = f"{daemon.url}/api/v1/issues"
    daemon.wait(lambda: ask(issues)[1]["issues"], "an issue")
    (issue,) = ask(issues)[1]["issues"]
    assert (issue["target"], issue["stage"], issue["restored"]) == ("main", "open", None)
    place = f"{issues}/{issue['issue']}"
    token = token_of(command, config, "nina")

    def tell(act: str, **fields: str) -> tuple[int, dict[str, Any]]:
        etag = ask(place)[2]
        return ask(f"{place}/happenings", "POST", {"act": act, **fields}, token=token, if_match=etag)[:2]

    assert ask(f"{place}/happenings", "POST", {"act": "line_called"}, token=token)[0] == 428
    code, told = tell("line_called", spoken_to="Terry", reference="S1-17")
    assert (code, told["happenings"][-1]["actor"], told["revision"]) == (201, "nina", 2), told
    daemon.wait_for_log("critical_issue.told")
    code, refusal = tell("agreed", party="customer")
    assert (code, "not restored" in refusal["detail"]) == (422, True), refusal
    old = {"act": "called_back"}
    assert ask(f"{place}/happenings", "POST", old, token=token, if_match='"1"')[0] == 412
    provider.clear("smtp")
    daemon.wait(lambda: ask(place)[1]["stage"] == "restored", "the service to be restored")
    for party in ("customer", "provider"):
        code, agreed = tell("agreed", party=party)
        assert code == 201, agreed
    assert agreed["stage"] == "resolved"
    shown = command("issue", "show", issue["issue"], "-c", config, "--json")
    assert json.loads(shown.out)["happenings"] == agreed["happenings"]


def test_a_case_is_seen_through_by_api_and_command(
    start: "Start", command: "Command", target: Describe, settings: Write, provider: "Provider", tmp_path: Path
) -> None:
    """Both tell of the same case, the daemon hears of what either told, and the answers are the same."""
    described = target()
    described["contract"]["tam"] = {"name": "Terry Amato", "phone": "+1 555 0101"}
    config = settings(described, **TOKENS)
    daemon = start(config)
    daemon.wait_for_seconds(1)
    token = token_of(command, config, "nina")
    place = daemon.url + CASES
    new = {"target": "main", "kind": "information_request", "title": "limits of the account"}
    assert ask(place, "POST", new)[0] == 401
    code, case, etag = ask(place, "POST", new, token=token)
    assert (code, case["stage"], case["happenings"][0]["actor"], etag) == (201, "open", "nina", '"1"'), case
    told = command("case", "submit", "--number", "4711", "-c", config, "--by", "otto", "--json")
    assert told.code == 0, told
    happenings = f"{place}/{case['case']}/happenings"
    escalated = {"act": "escalated", "spoken_to": "Terry"}
    assert ask(happenings, "POST", escalated, token=token, if_match=etag)[0] == 412
    code, case, etag = ask(happenings, "POST", escalated, token=token, if_match='"2"')
    assert (code, case["stage"], case["revision"]) == (201, "submitted", 3), case
    daemon.wait(lambda: len(daemon.log("case.told")) == 3, "what was told in the log")
    assert [(one["act"], one["actor"]) for one in daemon.log("case.told")] == [
        ("opened", "nina"), ("submitted", "otto"), ("escalated", "nina"),
    ]  # fmt: skip

    with ThreadPoolExecutor() as together:
        plain = together.submit(command, "case", "show", "-c", config, "--json")
        shown = together.submit(command, "case", "show", "-c", config)
        hours = together.submit(command, "hours", "-c", config, "--json")
        assert json.loads(plain.result().out) == ask(f"{place}/{case['case']}")[1]
        assert "to escalate: Terry Amato, +1 555 0101; " in shown.result().out
        (by_command,) = json.loads(hours.result().out)
    (by_api,) = ask(f"{daemon.url}/api/v1/hours")[1]["hours"]
    assert [by_api[name] for name in ("open", "why_closed", "hours", "time_zone")] == [
        by_command[name] for name in ("open", "why_closed", "hours", "time_zone")
    ]
    assert by_api["next_opening"] == by_command["next_opening"]["utc"]
    assert by_api["tam"]["phone"] == "+1 555 0101"
    assert ask(f"{place}?over=true")[1]["cases"] == []
    assert daemon.end()[0] == 0
    assert command("ledger", "verify", tmp_path / "ledger.sqlite3").code == 0


def test_the_daemon_stands_what_its_own_document_leads_to(
    start: "Start", command: "Command", target: Describe, settings: Write, provider: "Provider"
) -> None:
    """Whatever the document allows or forbids, each answer is as described, and the seconds go on."""
    config = settings(target(), **TOKENS)
    daemon = start(config)
    provider.set("smtp", "reply", phase="banner", reply="421 4.3.2 Service not available")
    token = token_of(command, config, "fuzz")
    daemon.wait(lambda: ask(f"{daemon.url}/api/v1/issues")[1]["issues"], "an issue")
    provider.clear("smtp")
    document = schemathesis.openapi.from_url(f"{daemon.url}/api/v1/openapi.json")
    document.config.generation.update(with_security_parameters=False)  # the token is always the right one
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        negative_data_rejection,
        unsupported_method,
        ignored_auth,
    ]
    begun_s, statuses = time.monotonic(), dict[str, set[int]]()
    for found in document.get_all_operations():
        assert isinstance(found, Ok)

        def example(case: Case) -> None:
            response = case.call(headers={"Authorization": f"Bearer {token}"})
            statuses.setdefault(str(case.operation.definition.raw["operationId"]), set()).add(response.status_code)
            case.validate_response(response, checks=checks)

        fuzz(found.ok(), example, lambda case: aim(case, daemon.url, token))
    assert time.monotonic() - begun_s < 60
    assert {200, 201, 404, 412, 422} <= set().union(*statuses.values())
    reached = {name for name, seen in statuses.items() if seen & {200, 201}}
    assert reached >= {"open_case", "issue", "case", "list_cases", "hours"}, statuses
    assert not daemon.log("web.request_failed")
    daemon.wait_for_seconds(1)


def test_off_loopback_all_goes_over_tls(
    start: "Start", command: "Command", target: Describe, settings: Write, provider: "Provider", tmp_path: Path
) -> None:
    """Reading needs a token there, writing too, and the certificate can be renewed by a reload."""
    authority = trustme.CA()
    paths = {"tls_certificate": tmp_path / "listener.pem", "tls_key": tmp_path / "listener.key"}

    def issue_certificate() -> trustme.LeafCert:
        leaf = authority.issue_cert("127.0.0.1", "localhost")
        leaf.cert_chain_pems[0].write_to_path(paths["tls_certificate"])
        leaf.private_key_pem.write_to_path(paths["tls_key"])
        return leaf

    issue_certificate()
    authority.cert_pem.write_to_path(tmp_path / "ca-of-listener.pem")
    open_to_all = {"host": "0.0.0.0", "port": 0, "tokens_file": "tokens.json"}
    refused = command("check-config", settings(target(), listener=open_to_all, name="refused.yaml"))
    assert (refused.code, "tokens would travel unencrypted" in refused.err) == (2, True)
    config = settings(target(), listener={**open_to_all, **{name: str(path) for name, path in paths.items()}})
    assert command("check-config", config).code == 0
    daemon = start(config)
    assert daemon.url.startswith("https://0.0.0.0:")
    url = daemon.url.replace("0.0.0.0", "127.0.0.1")
    tls = ssl.create_default_context(cafile=tmp_path / "ca-of-listener.pem")
    token = token_of(command, config, "nina")
    status = f"{url}/api/v1/status"
    assert ask(status, tls=tls)[0] == 401
    assert ask(status, tls=tls, token=token)[0] == 200
    (tmp_path / "token").write_text(f"{token}\n")
    trusting = ("--ca-file", tmp_path / "ca-of-listener.pem")
    shown = command("status", "--url", url, "--token-file", tmp_path / "token", *trusting)
    assert (shown.code, "vantage here" in shown.out) == (0, True), shown
    shown = command("status", "--url", url, *trusting)
    assert (shown.code, "needs a token" in shown.err) == (3, True), shown

    assert ask(f"{url}/-/reload", "POST", tls=tls)[0] == 401
    renewed = issue_certificate()
    reload = urllib.request.Request(f"{url}/-/reload", method="POST", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(reload, timeout=10, context=tls) as reply:
        assert reply.status == 200
    port = int(url.rpartition(":")[2])
    served = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(tmp_path / "ca-of-listener.pem"))
    assert served.strip() == renewed.cert_chain_pems[0].bytes().decode().strip()

    paths["tls_key"].write_text("no key")
    wrong = command("check-config", config)
    assert (wrong.code, "unencrypted key" in wrong.err) == (2, True), wrong
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("settings.refused")
    assert ask(status, tls=tls, token=token)[0] == 200


def aim(case: Case, url: str, token: str) -> Case:
    """Let an example speak of what is there: by chance it would never name an issue, a case or a target."""
    place = case.path_parameters
    if "issue" in place:
        place["issue"] = ask(f"{url}/api/v1/issues")[1]["issues"][0]["issue"]
    if "case" in place:
        new = {"target": "main", "kind": "information_request", "title": "fuzz"}
        name = place["case"] = ask(f"{url}{CASES}", "POST", new, token=token)[1]["case"]
        submitted = {"act": "submitted", "reference": "4711"}
        ask(f"{url}{CASES}/{name}/happenings", "POST", submitted, token=token, if_match='"1"')
    if case.operation.definition.raw["operationId"] == "open_case" and isinstance(case.body, dict):
        case.body["target"] = "main"
    if case.headers and isinstance(case.body, dict) and ("issue" in place or "case" in place):
        case.headers["If-Match"] = "*"
        case.body.pop("at", None)  # Most moments are before the beginning.
    return case


def fuzz(operation: Any, example: Callable[[Case], None], aimed: Callable[[Case], Case]) -> None:
    """Try an operation with what its schema allows, and with what it does not where it takes anything at all."""
    takes_something = operation.body or any(True for _ in operation.iter_parameters())
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if takes_something else (GenerationMode.POSITIVE,):
        strategy = operation.as_strategy(generation_mode=mode)
        given: Any = hypothesis.given(strategy.map(aimed) if mode is GenerationMode.POSITIVE else strategy)
        LIMITS(given(example))()
