"""A letter's journey through the relay: tried again where that can help, within limits.

A reply may get lost after the relay has taken the mail. It is sent again then, and known by its Message-ID.
"""

import ssl
from email.message import EmailMessage
from typing import Final

import aiosmtplib
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from probe.settings import Relay

ATTEMPTS_MAX: Final = 4
TRYING_S_MAX: Final = 120.0  # no further attempt begins after this
WAIT_S_MAX: Final = 10.0
PERMANENT: Final = 500  # RFC 5321 section 4.2.1: the same again would be refused again
WORDS_MAX: Final = 300


class NotSent(Exception):
    """The relay has not taken the mail; str() is a sentence without any secret."""


async def send(message: EmailMessage, relay: Relay, *, wait_s: float = 1.0) -> None:
    """Hand a mail to the relay; return once the relay has taken it. `wait_s` scales the pauses between attempts.

    Raises:
        NotSent: If it has not, or nobody knows.
    """
    trying = AsyncRetrying(
        stop=stop_after_attempt(ATTEMPTS_MAX) | stop_after_delay(TRYING_S_MAX),
        wait=wait_random_exponential(multiplier=wait_s, max=WAIT_S_MAX),
        retry=retry_if_exception(_may_pass),
        reraise=True,
    )
    try:
        tls = _tls(relay)
        async for attempt in trying:
            with attempt:
                await _hand_over(message, relay, tls)
    except (aiosmtplib.SMTPException, OSError) as error:
        raise NotSent(f"the relay {relay.host}:{relay.port} did not take it: {_words(error)}") from None


def _tls(relay: Relay) -> ssl.SSLContext | None:
    if relay.tls == "none":
        return None
    return ssl.create_default_context(cafile=None if relay.ca_file is None else str(relay.ca_file))


async def _hand_over(message: EmailMessage, relay: Relay, tls: ssl.SSLContext | None) -> None:
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        timeout=relay.timeout_s,
        use_tls=relay.tls == "implicit",
        start_tls=relay.tls == "starttls",
        tls_context=tls,
        username=relay.user,
        password=None if relay.password is None else relay.password.get_secret_value(),
    )
    async with client:
        await client.send_message(message)


def _may_pass(error: BaseException) -> bool:
    """Say whether the same again may end otherwise."""
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return False
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(one.code < PERMANENT for one in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code < PERMANENT
    return isinstance(
        error, aiosmtplib.SMTPConnectError | aiosmtplib.SMTPServerDisconnected | aiosmtplib.SMTPTimeoutError
    )


def _words(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and error.recipients:
        first = error.recipients[0]
        text = f"{first.code} {first.message}"
    elif isinstance(error, aiosmtplib.SMTPResponseException):
        text = f"{error.code} {error.message}"
    else:
        text = str(error) or type(error).__name__
    flat = " ".join(text.split())[:WORDS_MAX]
    return "".join(character for character in flat if character.isprintable())
