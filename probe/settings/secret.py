"""Secrets, read from where the settings say; a value never goes further than its SecretStr."""

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

from pydantic import SecretStr

from probe.settings.problem import Findings, Path, field_name

SECRET_BYTES_MAX = 16 * 1024
CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"  # set by systemd for LoadCredential=
# The units in deploy/systemd/ load this folder beside the settings whole, as LoadCredential=sev1probe:FOLDER, and
# systemd names each of its files sev1probe_FILE. Root's own commands read the folder itself, so that they can check and
# use the settings whether the service runs or not.
CREDENTIALS_FOLDER = "credentials"
UNIT_CREDENTIAL = "sev1probe"

# Stands in where a secret could not be read, so that the checks which follow don't complain of a second fault.
UNREAD = SecretStr("unread")

_SOURCES = ("file", "env", "credential", "literal")
_EXPECTED = "a secret as {file: PATH}, {env: NAME} or {credential: NAME}"


class Vault:
    """Reads the secrets of one settings file, and notes where each came from."""

    def __init__(self, findings: Findings, folder: File, environ: Mapping[str, str]) -> None:
        self._findings = findings
        self._folder = folder
        self._environ = environ

    def read(self, value: Any, path: Path) -> SecretStr:
        """Read one secret; what is wrong with it is noted, and UNREAD returned."""
        if isinstance(value, str):
            mend = f"{_EXPECTED}; for trying out only, {{literal: TEXT}}"
            return self._refuse(path, "plain text (not shown)", mend)
        if not isinstance(value, dict) or len(value) != 1 or not set(value) <= set(_SOURCES):
            return self._refuse(path, "something else (not shown)", _EXPECTED)
        ((kind, name),) = value.items()
        if not isinstance(name, str) or not name or "\0" in name:
            return self._refuse((*path, kind), "no text" if name else "nothing", "text (put numbers in quotes)")
        text = getattr(self, f"_from_{kind}")(name, (*path, kind))
        if text is None:
            return UNREAD
        text = text.removesuffix("\n").removesuffix("\r")
        if not text.strip():
            return self._refuse((*path, kind), "an empty secret", f"a secret in {self._described(kind, name)}")
        self._findings.sources[field_name(path)] = self._described(kind, name)
        return SecretStr(text)

    def _described(self, kind: str, name: str) -> str:
        match kind:
            case "file":
                return f"file {self._folder / name}"
            case "env":
                return f"environment variable {name}"
            case "credential":
                return f"systemd credential {name}"
        return "literal in the settings file"

    def _refuse(self, path: Path, found: str, expected: str) -> SecretStr:
        self._findings.refuse(path, found, expected)
        return UNREAD

    def _from_literal(self, text: str, path: Path) -> str:
        self._findings.warn(path, "the secret stands in the settings file; read it from a file, env or credential")
        return text

    def _from_env(self, name: str, path: Path) -> str | None:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII) is None:
            self._refuse(path, "something else (not shown)", "the name of an environment variable")
            return None
        if name not in self._environ:
            self._refuse(path, f"no environment variable {name}", f"it to be set: export {name}=...")
            return None
        return self._environ[name]

    def _from_credential(self, name: str, path: Path) -> str | None:
        if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}", name, re.ASCII) is None:
            self._refuse(path, "something else (not shown)", "the name of a credential, without a folder")
            return None
        folder = self._environ.get(CREDENTIALS_DIRECTORY)
        if folder:
            of_folder = File(folder) / f"{UNIT_CREDENTIAL}_{name}"
            file = of_folder if os.path.isfile(of_folder) else File(folder) / name
            return self._text(file, path, f"LoadCredential={name}:PATH in the systemd unit")
        if os.path.isdir(beside := self._folder / CREDENTIALS_FOLDER):
            return self._text(beside / name, path, "a file that holds the secret, and that you may read")
        mend = f"to be started by systemd with LoadCredential={name}:PATH"
        self._refuse(path, f"no {CREDENTIALS_DIRECTORY} in the environment", mend)
        return None

    def _from_file(self, name: str, path: Path) -> str | None:
        file = self._folder / name
        text = self._text(file, path, "a file that holds the secret")
        if text is not None and file.stat().st_mode & stat.S_IROTH:
            self._findings.warn(path, f"every user can read {json.dumps(str(file))}; run chmod o= on it")
        return text

    def _text(self, file: File, path: Path, expected: str) -> str | None:
        shown = json.dumps(str(file))
        try:
            if not file.is_file():
                self._refuse(path, f"no file {shown}", expected)
                return None
            with file.open("rb") as stream:
                raw = stream.read(SECRET_BYTES_MAX + 1)
        except OSError as error:
            self._refuse(path, f"{shown}, which can't be read ({os.strerror(error.errno or 0)})", expected)
            return None
        if len(raw) > SECRET_BYTES_MAX:
            self._refuse(path, f"more than {SECRET_BYTES_MAX} bytes in {shown}", "a secret and nothing else")
            return None
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self._refuse(path, f"bytes that are not UTF-8 in {shown}", "a secret as text")
            return None


def read_secrets(part: Any, path: Path, vault: Vault, *, field: str) -> None:
    """Replace the secrets of one surface, in place: its `field` (key or password) and its headers' values."""
    if not isinstance(part, dict):
        return
    if part.get(field) is not None and not isinstance(part[field], SecretStr):
        part[field] = vault.read(part[field], (*path, field))
    headers = part.get("headers")
    if isinstance(headers, dict):
        for name, value in headers.items():
            if isinstance(value, dict):
                headers[name] = vault.read(value, (*path, "headers", name))
