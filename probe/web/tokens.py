"""Tokens: who may write. One small file of names and hashes; the tokens themselves are kept by their owners alone.

A token is 256 bits from the system's generator. Its hash is plain SHA-256: a slow, salted hash protects what people
make up, by making each guess dear; nobody guesses one of 2^256, so it would protect nothing here and cost every
request. Whoever reads the file gains nothing; whoever can write it can make himself a token, so it must not be
writable by everybody.
"""

import asyncio
import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

TOKEN_BYTES: Final = 32
TOKEN_PREFIX: Final = "s1p_"  # noqa: S105 - lets scanners of repositories know a lost token by its sight
TOKENS_MAX: Final = 100
TOKENS_FILE_BYTES_MAX: Final = 64 * 1024
FILE_VERSION: Final = 1
OWN_NAME: Final = "sev1probe"  # the actor of what the program itself records
NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}"

log = structlog.get_logger(__name__)


class TokensError(Exception):
    """The tokens file can't be used as it is asked to; str() is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a token: who holds it, since when, and its SHA-256 in hexadecimal."""

    name: str
    created_us: int
    digest: str = field(repr=False)


def digest_of(token: str) -> str:
    """Hash a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def holder_of(entries: Sequence[Entry], token: str) -> str | None:
    """Name the holder of a token; None if it is nobody's.

    Every entry is compared, each in constant time: how long it takes tells neither how much of a hash was right nor
    whose it was.
    """
    presented, holder = digest_of(token), None
    for entry in entries:
        if hmac.compare_digest(entry.digest, presented):
            holder = entry.name
    return holder


def read_entries(path: Path) -> tuple[Entry, ...]:
    """Read the tokens file; a file that is not there holds none.

    Raises:
        TokensError: If it can't be read, is no tokens file, or may be written by every user.
    """
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & stat.S_IWOTH:
                raise TokensError(f"{path}: every user can write this file and so make himself a token; run chmod o-w")
            raw = stream.read(TOKENS_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise TokensError(f"{path}: the tokens file can't be read ({os.strerror(error.errno or 0)})") from error
    return _parsed(path, raw)


def create(path: Path, name: str, now_us: int) -> str:
    """Make a token, keep its hash, and return it; it can't be had again.

    Raises:
        TokensError: If the name is no good or taken, or the file can't be used.
    """
    if re.fullmatch(NAME_PATTERN, name) is None or name == OWN_NAME:
        raise TokensError(
            f"{json.dumps(name)} can't be a token's name: use 1 to 63 letters, digits and . _ @ + -, the first of them "
            f"a letter or a digit, and not {OWN_NAME}"
        )
    token = TOKEN_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(TOKEN_BYTES)).rstrip(b"=").decode()
    with _alone(path):
        entries = read_entries(path)
        if any(entry.name == name for entry in entries):
            raise TokensError(f"{path}: {name} has a token already; revoke that one first, or take another name")
        if len(entries) >= TOKENS_MAX:
            raise TokensError(f"{path}: there are {TOKENS_MAX} tokens already, which is the most; revoke some first")
        _write(path, (*entries, Entry(name=name, created_us=now_us, digest=digest_of(token))))
    return token


def revoke(path: Path, name: str) -> None:
    """Take a token out of the file.

    Raises:
        TokensError: If nobody of that name has one, or the file can't be used.
    """
    with _alone(path):
        entries = read_entries(path)
        left = tuple(entry for entry in entries if entry.name != name)
        if len(left) == len(entries):
            raise TokensError(f"{path}: nobody has a token by the name {json.dumps(name)}; `token list` names them")
        _write(path, left)


class TokenBook:
    """The tokens file as the daemon knows it: read again when it changed, worth nothing while it can't be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: tuple[Entry, ...] = ()
        self._seen: object = None
        self._trouble = ""
        self._reading = asyncio.Lock()

    async def holder_of(self, token: str) -> str | None:
        """Name the holder of a token by the file as it is now; None if it is nobody's."""
        # One at a time, and off the loop: a disk that hangs may hold up those who present tokens, and nothing else.
        async with self._reading:
            await asyncio.to_thread(self._look)
        return holder_of(self._entries, token)

    def _look(self) -> None:
        seen, trouble = None, ""
        with suppress(OSError):
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode)
        if seen == self._seen and not self._trouble:
            return
        try:
            self._entries = read_entries(self._path)
        except TokensError as error:
            self._entries, trouble = (), str(error)
        self._seen = seen
        if trouble and trouble != self._trouble:
            log.error("web.tokens_unusable", reason=trouble, until_then="every token is refused")
        self._trouble = trouble


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time change the file."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise TokensError(f"{path}: its folder can't be opened ({os.strerror(error.errno or 0)})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, entries: Sequence[Entry]) -> None:
    """Replace the file as a whole, so that no reader ever sees half of it."""
    text = json.dumps({"v": FILE_VERSION, "tokens": [asdict(entry) for entry in entries]}, indent=1) + "\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Root makes it on behalf of whom the folder, or the file that was there, belongs to: the daemon must read it.
        owner = (path if path.exists() else path.parent).stat()
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            if os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise TokensError(f"{path}: the tokens file can't be written ({os.strerror(error.errno or 0)})") from error


def _parsed(path: Path, raw: bytes) -> tuple[Entry, ...]:
    wrong = TokensError(f"{path}: this is not a tokens file; move it away, and make one anew with `token create`")
    if len(raw) > TOKENS_FILE_BYTES_MAX:
        raise wrong
    try:
        plain: Any = json.loads(raw)
        if plain["v"] != FILE_VERSION or len(plain["tokens"]) > TOKENS_MAX:
            raise wrong
        entries = tuple(Entry(**item) for item in plain["tokens"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise wrong from error
    if not all(_is_sound(entry) for entry in entries):
        raise wrong
    return entries


def _is_sound(entry: Entry) -> bool:
    return (
        isinstance(entry.name, str)
        and re.fullmatch(NAME_PATTERN, entry.name) is not None
        and isinstance(entry.created_us, int)
        and isinstance(entry.digest, str)
        and re.fullmatch("[0-9a-f]{64}", entry.digest) is not None
    )
