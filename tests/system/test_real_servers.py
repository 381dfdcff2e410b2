"""The real servers that other tests rely on do what those tests take for granted."""

import http.client
import json
import smtplib
import socket
import ssl
import uuid
from collections.abc import Callable
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import HttpsApi, Postfix

PATH = "/api/v1/transmissions"


def _context(ca_file: object) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file))


def _message(postfix: "Postfix", recipient: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["From"] = postfix.sender
    message["To"] = recipient or postfix.recipient
    message["Message-ID"] = f"<{uuid.uuid4()}@sender.test>"
    message.set_content("one second")
    return message


def _post(api: "HttpsApi", timeout_s: float = 5.0) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPSConnection(api.host, api.port, timeout=timeout_s, context=_context(api.ca_file))
    try:
        connection.request("POST", PATH, body=b"{}", headers={"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read()
    finally:
        connection.close()


def test_postfix_takes_a_message_after_starttls_and_login(postfix: "Postfix") -> None:
    """A message sent over STARTTLS with the login is accepted, and Postfix logs its id and that it went to the sink."""
    message = _message(postfix)
    with smtplib.SMTP(postfix.host, postfix.port_starttls, timeout=5) as client:
        client.starttls(context=_context(postfix.ca_file))
        client.login(postfix.user, postfix.password)
        client.send_message(message)

    line = postfix.wait_for_log(message["Message-ID"])

    queue_id = line.split("cleanup[")[1].split()[1]
    assert "relay=none" in postfix.wait_for_log(f"{queue_id} to=<{postfix.recipient}>")


def test_postfix_takes_a_message_over_implicit_tls(postfix: "Postfix") -> None:
    """The second port speaks TLS from the first byte."""
    message = _message(postfix)
    with smtplib.SMTP_SSL(postfix.host, postfix.port_implicit, timeout=5, context=_context(postfix.ca_file)) as client:
        client.login(postfix.user, postfix.password)
        client.send_message(message)

    assert "cleanup[" in postfix.wait_for_log(message["Message-ID"])


def test_postfix_refuses_a_wrong_password(postfix: "Postfix") -> None:
    """A wrong password is answered with 535 5.7.8."""
    with smtplib.SMTP(postfix.host, postfix.port_starttls, timeout=5) as client:
        client.starttls(context=_context(postfix.ca_file))
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login(postfix.user, "wrong")

    assert refused.value.smtp_code == 535


def test_postfix_takes_nothing_without_the_login(postfix: "Postfix") -> None:
    """A client that did not log in gets no message accepted."""
    with smtplib.SMTP(postfix.host, postfix.port_starttls, timeout=5) as client:
        client.starttls(context=_context(postfix.ca_file))
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.send_message(_message(postfix))


def test_postfix_relays_to_nobody_but_the_sink(postfix: "Postfix") -> None:
    """Even with the login, no other domain is taken, so no test can ever send mail out."""
    with smtplib.SMTP(postfix.host, postfix.port_starttls, timeout=5) as client:
        client.starttls(context=_context(postfix.ca_file))
        client.login(postfix.user, postfix.password)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.send_message(_message(postfix, recipient="someone@elsewhere.test"))


def test_a_paused_postfix_accepts_connections_and_says_nothing(postfix: "Postfix") -> None:
    """While paused it gives no banner; resumed, it greets as before."""
    postfix.pause()
    with (
        socket.create_connection((postfix.host, postfix.port_starttls), timeout=0.2) as connection,
        pytest.raises(TimeoutError),
    ):
        connection.recv(1)

    postfix.resume()

    with smtplib.SMTP(postfix.host, postfix.port_starttls, timeout=5) as client:
        assert client.noop()[0] == 250


def test_a_reloaded_postfix_goes_on(postfix: "Postfix") -> None:
    """After a reload it greets as before."""
    postfix.reload()

    with smtplib.SMTP(postfix.host, postfix.port_starttls, timeout=5) as client:
        assert client.noop()[0] == 250


def test_a_stopped_postfix_refuses_connections(start_postfix: "Callable[[], Postfix]") -> None:
    """After stop() neither port listens any more."""
    server = start_postfix()
    server.stop()

    for port in (server.port_starttls, server.port_implicit):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, port), timeout=5)


def test_nginx_accepts_a_transmission(https_api: "HttpsApi") -> None:
    """A POST over TLS gets the documented 200 and is counted."""
    before = len(https_api.requests())

    status, content_type, body = _post(https_api)

    assert (status, content_type) == (200, "application/json")
    assert json.loads(body)["results"]["total_accepted_recipients"] == 1
    assert https_api.wait_for_requests(before + 1)[before:] == [200]


def test_nginx_answers_503_while_down(https_api: "HttpsApi") -> None:
    """While set down it answers 503 with the provider's JSON error; healed, it accepts again."""
    https_api.set_down(True)
    status, content_type, body = _post(https_api)
    assert (status, content_type) == (503, "application/json")
    assert json.loads(body)["errors"]

    https_api.heal()

    assert _post(https_api)[0] == 200


def test_nginx_never_answers_while_silent(https_api: "HttpsApi") -> None:
    """While set silent it takes the request and sends nothing; healed, it accepts again."""
    https_api.set_silent(True)
    with pytest.raises(TimeoutError):
        _post(https_api, timeout_s=0.3)

    https_api.heal()

    assert _post(https_api)[0] == 200


def test_a_stopped_nginx_refuses_connections(start_https_api: "Callable[[], HttpsApi]") -> None:
    """After stop() nothing listens any more."""
    server = start_https_api()
    assert _post(server)[0] == 200

    server.stop()

    with pytest.raises(ConnectionRefusedError):
        _post(server)
