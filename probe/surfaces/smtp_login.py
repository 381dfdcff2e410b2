"""What logs in, and what a server could repeat of it: the two must know of each other."""

import base64
import re
from collections.abc import Iterable

from aiosmtplib.auth import auth_login_encode, auth_plain_encode
from pydantic import SecretStr

from probe.core.redaction import CUT_MARK, without_begun_secrets
from probe.settings import Smtp

REDACTED = "[redacted]"


def auth_lines(settings: Smtp) -> tuple[bytes, ...]:
    """Return the lines that log in: each but the last is answered by 334 (RFC 4954 section 4)."""
    if settings.user is None or settings.password is None:
        return ()
    password = settings.password.get_secret_value()
    if settings.auth == "login":
        user_line, password_line = auth_login_encode(settings.user, password)
        return (b"AUTH LOGIN\r\n", user_line + b"\r\n", password_line + b"\r\n")
    return (b"AUTH PLAIN " + auth_plain_encode(settings.user, password) + b"\r\n",)


class Redactor:
    """Strikes out of a text what a server could repeat of our secrets, as they are and as AUTH encodes them."""

    __slots__ = ("_pattern", "_secrets")

    def __init__(self, settings: Smtp) -> None:
        secrets = [value.get_secret_value() for value in settings.headers.values() if isinstance(value, SecretStr)]
        if settings.user is not None and settings.password is not None:
            user, password = settings.user, settings.password.get_secret_value()
            secrets += [user, password, auth_plain_encode(user, password).decode()]
            secrets += _as_base64((user, password))
        # The longest first, so that none hides a part of another.
        self._secrets = tuple(sorted({secret for secret in secrets if secret}, key=len, reverse=True))
        self._pattern = re.compile("|".join(map(re.escape, self._secrets)), re.IGNORECASE)

    def __repr__(self) -> str:
        """Say nothing of what it holds."""
        return "Redactor()"

    def redacted(self, text: str) -> str:
        """Return the text without secrets, whole or begun where it was cut; the caller may then cut it again."""
        if not self._secrets or not text:
            return text
        text = self._pattern.sub(REDACTED, text)
        return without_begun_secrets(text, self._secrets, REDACTED) if CUT_MARK in text else text


def _as_base64(texts: Iterable[str]) -> list[str]:
    return [base64.b64encode(text.encode()).decode() for text in texts]
