"""The files of the console: one small page, and what it loads under an address that changes with the contents."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.crisis.pages import FOLDER, template
from shared.web.help_lines import HelpLines
from shared.web.texts import LANGUAGES, Language, catalogue

_KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

_OUR_TEXTS = ("crisis.console.", "crisis.button.", "crisis.level.", "policy.role.")
_SHORTER = re.compile(r"^(crisis\.console|crisis|policy)\.")
_ASIDE = re.compile(r"^(?:[ \t]*//.*|/\*\*.*\*/|[ \t]+)", re.MULTILINE)
"""Comments on lines of their own, and indentation: not for a slow line. The lines keep their numbers."""


@dataclass(frozen=True)
class File:
    """A file as it is sent."""

    kind: str
    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, kind: str, content: str) -> File:
        plain = content.encode()
        return cls(kind, plain, gzip.compress(plain, mtime=0))


@dataclass(frozen=True)
class Console:
    """The page and its files."""

    page: str
    version: str
    files: Mapping[str, File]


def console(root: str, help_lines: HelpLines, sign_in: str) -> Console:
    """The console under the path `root`. `sign_in` is `issuer` where there is one to sign in at, `token` where tokens
    come from the command line, `paste` where the issuer's have to be brought."""
    contents = {path.name: _ASIDE.sub("", path.read_text(encoding="utf-8")) for path in _sources()}
    contents |= {f"{language}.js": _texts(language, help_lines) for language in LANGUAGES}
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name} {len(content)} {content}".encode())
    version = digest.hexdigest()[:12]
    page = template("console.html").render(
        root=root,
        files=f"{root}/console/{version}",
        parts=[name for name in contents if name.endswith(".js") and name not in ("console.js", "en.js")],
        sign_in=sign_in,
        t=catalogue("zh"),
    )
    files = {name: File.of(_KINDS[Path(name).suffix], content) for name, content in contents.items()}
    return Console(page, version, files)


def _sources() -> list[Path]:
    return sorted((FOLDER / "console").iterdir())


def _texts(language: Language, help_lines: HelpLines) -> str:
    """The texts of a language, and whom to call, as a module."""
    texts = {
        _SHORTER.sub("", key): words
        for key, words in catalogue(language).items()
        if key.startswith(_OUR_TEXTS)
    }
    lines = [(line, True) for line in help_lines.danger] + [(line, False) for line in help_lines.talk]
    calls = [
        {"number": line.number, "name": catalogue(language)[f"survey.help.{line.name}"], "urgent": urgent}
        for line, urgent in lines
    ]
    return f"export const texts = {_json(texts)};\nexport const calls = {_json(calls)};\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
