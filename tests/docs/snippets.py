"""Finding commands and Python code in Markdown pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"```(\w*)")
COMMAND = re.compile(r"    (hflow|python|pip|head|cat) ")  # an indented block that begins so is shell
MARK = re.compile(r"<!-- not run: (.+) -->")
LANGUAGES = {"sh": "sh", "bash": "sh", "shell": "sh", "console": "console", "python": "python"}


@dataclass(frozen=True)
class Snippet:
    """A block of a page. kind: sh, console or python. why_not: what its mark says, None for one that can be run."""

    line: int
    kind: str
    code: str
    why_not: str | None


def snippets(page: Path) -> list[Snippet]:
    """The blocks of a page that are commands or Python, in order."""
    lines = page.read_text("utf-8").splitlines()
    found, why_not, i = [], None, 0
    while i < len(lines):
        start, line = i, lines[i]
        i += 1
        if mark := MARK.fullmatch(line):
            why_not = mark[1]
        elif fence := FENCE.match(line):
            while not lines[i].startswith("```"):
                i += 1
            if kind := LANGUAGES.get(fence[1]):
                found.append(Snippet(start + 2, kind, "\n".join(lines[start + 1 : i]), why_not))
            why_not, i = None, i + 1
        elif COMMAND.match(line) and not lines[start - 1].strip():
            while i < len(lines) and (lines[i].startswith("    ") or not lines[i].strip()):
                i += 1
            code = "\n".join(text[4:] for text in lines[start:i])
            found.append(Snippet(start + 1, "sh", code, why_not))
            why_not = None
        elif line.strip() and not line.startswith("<!--"):
            why_not = None
    return found


def session(code: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that the page shows below it."""
    parts = re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def shape(output: str) -> list[str]:
    """Output without what changes with the bundle: numbers and the spaces around them."""
    lines = (re.sub(r"\d[\d.,]*", "0", " ".join(line.split())) for line in output.splitlines())
    return [line for line in lines if line]
