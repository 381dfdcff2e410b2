"""Profiles of the provider: hosts, logins, headers and bodies that a target need not spell out.

A profile is a YAML file under profiles/. `needs` names the words that it must be told, each with the reason;
`password` is the template by which the target's one key becomes the SMTP password; `api` and `smtp` hold the fields as
they would stand in the settings file, with {tenant} and the like in them. What the settings file says itself wins.
"""

from copy import deepcopy
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, SecretStr, ValidationError

from probe.settings.kinds import WORD_PATTERN, MailAddress
from probe.settings.problem import Findings, Path, describe, field_name
from probe.settings.report import report
from probe.settings.secret import UNREAD, Vault, read_secrets
from probe.settings.surface import Frozen

SINK_RECIPIENT = "probe@example.com.sink.sparkpostmail.com"

_WORDS = ("tenant", "binding", "workspace")
# Stand in for what was wrong with the choice, so that the rest of the target can be checked all the same.
_STAND_INS = {
    "provider": "sparkpost-us",
    "tenant": "tenant",
    "binding": "binding",
    "workspace": "workspace",
    "sender": "sender@example.com",
    "recipient": SINK_RECIPIENT,
    "surfaces": ("api", "smtp"),
}

Word = Annotated[str, Field(pattern=WORD_PATTERN)]


class Choice(Frozen):
    """What a target says of its provider instead of spelling out api and smtp."""

    provider: Literal["sparkpost-us", "sparkpost-eu", "sparkpost-enterprise", "bird-us", "bird-eu"]
    tenant: Word | None = None
    binding: Word | None = None
    workspace: Word | None = None
    sender: MailAddress
    recipient: MailAddress = SINK_RECIPIENT
    surfaces: Annotated[tuple[Literal["api", "smtp"], ...], Field(min_length=1)] = ("api", "smtp")


@cache
def _profile(name: str) -> dict[str, Any]:
    text = resources.files("probe.settings").joinpath("profiles", f"{name}.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def profile(name: str) -> dict[str, Any]:
    """Read a packaged profile; a copy that the caller may change."""
    return deepcopy(_profile(name))


def complete(target: dict[str, Any], path: Path, findings: Findings, vault: Vault) -> None:
    """Turn a target as written into one as `Target` wants it, in place: profile spread out, secrets read."""
    key = vault.read(target.pop("key"), (*path, "key")) if "key" in target else None
    template = "{key}"
    if "provider" in target:
        template = _spread(target, _choice(target, path, findings))
        _need_key(target, key, path, findings)
    else:
        for name in _STAND_INS:
            if name in target:
                findings.refuse((*path, name), describe(target.pop(name), (*path, name)), f"no {name} without provider")
    read_secrets(target.get("api"), (*path, "api"), vault, field="key")
    read_secrets(target.get("smtp"), (*path, "smtp"), vault, field="password")
    if key is not None:
        _hand_out(target, key, template, path, findings)


def _choice(target: dict[str, Any], path: Path, findings: Findings) -> Choice:
    written = {name: target.pop(name) for name in _STAND_INS if name in target}
    wrong: set[str] = set()
    try:
        choice = Choice.model_validate(written)
    except ValidationError as error:
        report(error, findings, path)
        wrong = {str(item["loc"][0]) for item in error.errors(include_url=False)}
        choice = Choice.model_validate({**written, **{name: _STAND_INS[name] for name in wrong}})
    # What an unknown provider needs is unknown.
    return choice if "provider" in wrong else _with_needs(choice, path, findings)


def _with_needs(choice: Choice, path: Path, findings: Findings) -> Choice:
    """Check the words that the profile must be told, and those that it has no use for."""
    needs: dict[str, str] = profile(choice.provider).get("needs", {})
    mended: dict[str, str] = {}
    for word in _WORDS:
        value = getattr(choice, word)
        if word in needs and value is None:
            findings.refuse((*path, word), "nothing", needs[word])
            mended[word] = str(_STAND_INS[word])
        elif word not in needs and value is not None:
            findings.refuse((*path, word), describe(value, (*path, word)), f"no {word} with {choice.provider}")
    return choice.model_copy(update=mended)


def _spread(target: dict[str, Any], choice: Choice) -> str:
    """Fold the profile in below what the target says itself; returns the template of the SMTP password."""
    words = {word: getattr(choice, word) or "" for word in (*_WORDS, "sender", "recipient")}
    data = profile(choice.provider)
    for surface in choice.surfaces:
        own = target.get(surface, {})
        if isinstance(own, dict):
            target[surface] = _merged(_filled(data[surface], words), own)
    return str(data["password"])


def _filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, words) for item in value]
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(f"{{{word}}}", text)
    return value


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one surface's fields over the profile's: header by header, everything else as a whole."""
    merged = {**below, **above}
    headers = above.get("headers")
    if isinstance(headers, dict):
        said = {name.lower() for name in headers}
        kept = {name: value for name, value in below.get("headers", {}).items() if name.lower() not in said}
        merged["headers"] = {**kept, **headers}
    return merged


def _need_key(target: dict[str, Any], key: SecretStr | None, path: Path, findings: Findings) -> None:
    for surface, field in (("api", "key"), ("smtp", "password")):
        part = target.get(surface)
        if key is None and isinstance(part, dict) and field not in part:
            findings.refuse((*path, "key"), "nothing", "a secret as {file: PATH}, {env: NAME} or {credential: NAME}")
            part[field] = UNREAD


def _hand_out(target: dict[str, Any], key: SecretStr, password: str, path: Path, findings: Findings) -> None:
    """Let the target's one key serve both surfaces where they have none of their own."""
    source = findings.sources.pop(field_name((*path, "key")), None)
    for surface, field, template in (("api", "key", "{key}"), ("smtp", "password", password)):
        part = target.get(surface)
        if not isinstance(part, dict) or field in part or (surface == "smtp" and "user" not in part):
            continue
        part[field] = SecretStr(template.replace("{key}", key.get_secret_value()))
        if source is not None:
            findings.sources[field_name((*path, surface, field))] = source
