"""A Support Case from the seconds that show it to the answer, by a real Postfix."""

import csv
import email
import io
import json
from collections.abc import Callable, Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller

if TYPE_CHECKING:
    from tests.system.conftest import Postfix
    from tests.system.daemon.conftest import Command, Daemon, Ended, Provider, Start, Until

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
REPLY = "421 4.3.2 Service not available, <b>sorry</b>"


class Desk:
    """The provider's mailbox, behind the relay."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Take a mail."""
        self.mails.append(email.message_from_bytes(envelope.content, policy=policy.default))
        return "250 2.0.0 taken"


@pytest.fixture
def desk(start_postfix: Callable[..., "Postfix"], free_port: Callable[[], int]) -> Iterator[tuple[Desk, "Postfix"]]:
    """Run a Postfix that hands what it takes to the provider's mailbox."""
    found, port = Desk(), free_port()
    postfix = start_postfix(port)
    controller = Controller(found, hostname="127.0.0.1", port=port)
    controller.start()
    yield found, postfix
    controller.stop()
    postfix.stop()


def test_a_case_is_mailed_with_its_evidence_and_answered(
    start: "Start", command: "Command", target: Describe, settings: Write, provider: "Provider",
    desk: tuple[Desk, "Postfix"], until: "Until", tmp_path: Path,
) -> None:  # fmt: skip
    """The relay hands it on with its attachment; only then is it submitted, and a second time is refused."""
    mailbox, postfix = desk
    secret = tmp_path / "relay-password"
    secret.write_text("wrong")
    described = target(persistence="30/40/5")
    described["contract"] |= {"support_email": postfix.recipient}
    relay = {
        "host": "localhost", "port": postfix.port_starttls, "user": postfix.user, "password": {"file": str(secret)},
        "ca_file": str(postfix.ca_file),
    }  # fmt: skip
    config = settings(described, cases={"sender": postfix.sender, "relay": relay}, company={"name": "Example GmbH"})
    daemon = start(config)

    def case(*arguments: object) -> "Ended":
        told = () if arguments[0] in ("list", "show") else ("--by", "nina")
        return command("case", *arguments, "-c", config, *told)

    daemon.wait_for_seconds(1)
    provider.set("smtp", "reply", phase="banner", reply=REPLY)
    first = unavailable_second(daemon, command, tmp_path)
    provider.clear("smtp")

    opened = case("open", "--kind", "software_bug", "--title", "421 now and then", "--from", first, "--json")
    assert opened.code == 0, opened
    name = json.loads(opened.out)["case"]
    refused = case("submit", "--by-mail")
    assert (refused.code, "535" in refused.err) == (3, True), refused
    assert json.loads(case("show", "--json").out)["stage"] == "open"
    secret.write_text(postfix.password)
    sent = case("submit", "--by-mail")
    assert (sent.code, f"{name}: submitted" in sent.out) == (0, True), (sent, postfix.log())

    until(lambda: mailbox.mails, "the case at the provider")
    (mail,) = mailbox.mails
    assert mail["Message-ID"] == f"<{name}.sev1probe@sender.test>"
    body = mail.get_body(("plain",))
    assert body is not None
    assert "Service not available, <b>sorry</b>" in body.get_content()
    (record,) = mail.iter_attachments()
    payload = record.get_payload(decode=True)
    assert isinstance(payload, bytes)
    rows = list(csv.DictReader(io.StringIO(payload.decode("utf-8"), newline="")))
    shown = {(row["type"], row["surface"], row["second"], row["verdict"]) for row in rows if row["type"] == "second"}
    assert ("second", "smtp", str(first), "unavailable") in shown
    assert {row["type"] for row in rows} == {"second", "attempt"}

    again = case("submit", "--by-mail")
    assert (again.code, "is submitted already" in again.err, len(mailbox.mails)) == (1, True, 1)
    answered = case("reply", "--words", "a full disk", "--reference", "T-9", "--json")
    assert (answered.code, json.loads(answered.out)["obligations"][0]["state"]) == (0, "met"), answered
    daemon.wait(lambda: len(daemon.log("case.told")) == 3, "the reply in the log")
    daemon.end()
    assert command("ledger", "verify", tmp_path / "ledger.sqlite3").code == 0


def unavailable_second(daemon: "Daemon", command: "Command", folder: Path) -> int:
    """Wait for a second that was unavailable, and return it."""
    found: list[int] = []

    def look() -> list[int]:
        ended = command("ledger", "export", folder / "ledger.sqlite3")
        rows = [json.loads(line) for line in ended.out.splitlines()]
        found.extend(row["second"] for row in rows if row.get("verdict") == "unavailable")
        return found

    daemon.wait(look, "an unavailable second")
    return found[0]
