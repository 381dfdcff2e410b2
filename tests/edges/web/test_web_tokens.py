"""The tokens file: who may write."""

import hmac
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from probe.web import TokenBook
from probe.web.tokens import (
    TOKEN_PREFIX,
    TOKENS_MAX,
    TokensError,
    create,
    digest_of,
    holder_of,
    read_entries,
    revoke,
)

NOW_US = 1_700_000_000_000_000


def test_a_token_is_kept_as_a_hash_only(tmp_path: Path) -> None:
    """The file tells whose token it is, and neither the file nor a repr what it is."""
    path = tmp_path / "tokens.json"
    token = create(path, "nina@example.com", NOW_US)
    assert token.startswith(TOKEN_PREFIX)
    assert len(token) - len(TOKEN_PREFIX) == 43
    (entry,) = read_entries(path)
    assert (entry.name, entry.created_us, entry.digest) == ("nina@example.com", NOW_US, digest_of(token))
    assert token not in path.read_text()
    assert entry.digest not in repr(entry)
    assert path.stat().st_mode & 0o777 == 0o600
    assert holder_of([entry], token) == "nina@example.com"
    assert holder_of([entry], token[:-1]) is None
    assert holder_of([entry], "\u00fc") is None


def test_two_tokens_are_never_the_same(tmp_path: Path) -> None:
    """Each is drawn anew."""
    path = tmp_path / "tokens.json"
    assert len({create(path, f"n{number}", NOW_US) for number in range(20)}) == 20


def test_every_entry_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it takes does not tell whose token was shown: none is passed over, and each in constant time."""
    path = tmp_path / "tokens.json"
    tokens = [create(path, name, NOW_US) for name in ("a", "b", "c")]
    compared: list[str] = []
    compare = hmac.compare_digest

    def count(one: str, other: str) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", count)
    for token in (*tokens, "nobody's"):
        compared.clear()
        holder_of(read_entries(path), token)
        assert compared == [digest_of(one) for one in tokens]


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\n", "ä", "a" * 64, "[red]", "sev1probe"])
def test_a_name_must_be_fit_for_the_record(tmp_path: Path, name: str) -> None:
    """It is recorded as the actor, and read by people."""
    with pytest.raises(TokensError, match="can't be a token's name"):
        create(tmp_path / "tokens.json", name, NOW_US)
    assert list(tmp_path.iterdir()) == []


def test_a_name_has_one_token(tmp_path: Path) -> None:
    """A second is refused until the first is revoked."""
    path = tmp_path / "tokens.json"
    first = create(path, "nina", NOW_US)
    with pytest.raises(TokensError, match="nina has a token already"):
        create(path, "nina", NOW_US)
    revoke(path, "nina")
    with pytest.raises(TokensError, match="nobody has a token by the name"):
        revoke(path, "nina")
    create(path, "nina", NOW_US)
    assert holder_of(read_entries(path), first) is None


def test_there_are_not_too_many(tmp_path: Path) -> None:
    """Every request compares all of them."""
    path = tmp_path / "tokens.json"
    for number in range(TOKENS_MAX):
        create(path, f"n{number}", NOW_US)
    with pytest.raises(TokensError, match="which is the most"):
        create(path, "one-more", NOW_US)


def _create(path: Path, name: str) -> None:
    create(path, name, NOW_US)


def test_two_who_create_at_once_lose_nothing(tmp_path: Path) -> None:
    """The file is changed by one process at a time."""
    path = tmp_path / "tokens.json"
    context = multiprocessing.get_context("fork" if os.name == "posix" else None)
    makers = [context.Process(target=_create, args=(path, f"n{number}")) for number in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(20)
    assert {entry.name for entry in read_entries(path)} == {f"n{number}" for number in range(8)}
    assert [file.name for file in tmp_path.iterdir()] == ["tokens.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"v": 2, "tokens": []}',
        '{"v": 1, "tokens": [{"name": "a"}]}',
        '{"v": 1, "tokens": [{"name": "a", "created_us": 1, "digest": "abc"}]}',
        '{"v": 1, "tokens": [{"name": "a", "created_us": 1, "digest": "ä"}]}',
        "[" * 100_000,
    ],
)
def test_another_file_is_not_taken_for_tokens(tmp_path: Path, text: str) -> None:
    """It is left as it is, and the sentence names it."""
    path = tmp_path / "tokens.json"
    path.write_text(text)
    with pytest.raises(TokensError, match="not a tokens file"):
        create(path, "nina", NOW_US)
    assert path.read_text() == text


def test_what_is_said_of_a_broken_file_mends_it(tmp_path: Path) -> None:
    """Once it is out of the way another one is made; to make it anew in its place is refused."""
    path = tmp_path / "tokens.json"
    path.write_text("{")
    with pytest.raises(TokensError, match="move it away, and make one anew"):
        create(path, "nina", NOW_US)
    path.rename(tmp_path / "broken")
    assert create(path, "nina", NOW_US)


def test_a_file_that_all_can_write_is_worth_nothing(tmp_path: Path) -> None:
    """Whoever writes it makes himself a token."""
    path = tmp_path / "tokens.json"
    create(path, "nina", NOW_US)
    path.chmod(0o666)
    with pytest.raises(TokensError, match="every user can write this file"):
        read_entries(path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(TokensError, match="its folder can't be opened"):
        create(tmp_path / "none" / "tokens.json", "nina", NOW_US)


async def test_the_book_follows_its_file(tmp_path: Path) -> None:
    """What is created or revoked counts at once; while the file is broken every token is refused, and that is said."""
    path = tmp_path / "tokens.json"
    book = TokenBook(path)
    assert await book.holder_of("x") is None
    nina = create(path, "nina", NOW_US)
    otto = create(path, "otto", NOW_US)
    assert [await book.holder_of(token) for token in (nina, otto, "x")] == ["nina", "otto", None]
    revoke(path, "nina")
    assert [await book.holder_of(token) for token in (nina, otto)] == [None, "otto"]
    good = path.read_text()
    path.write_text("{")
    with capture_logs() as lines:
        assert [await book.holder_of(otto), await book.holder_of(otto)] == [None, None]
    assert [line["event"] for line in lines] == ["web.tokens_unusable"]
    path.write_text(good)
    assert await book.holder_of(otto) == "otto"
    assert json.loads(good)["tokens"][0]["digest"] not in repr(book)
