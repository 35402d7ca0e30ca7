"""Text of users (names of classes and files, tags, reasons) as terminals and Markdown may safely show it."""

from __future__ import annotations

import html
import re
from typing import Any

# What moves the cursor, changes colours, answers in the user's place, ends a line or turns the direction of reading.
BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
CONTROLS = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{BIDI}]")
BREAKS = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{BIDI}]")
APART = "&#8203;"  # a blank of no width: behind it GitHub sees no mention, issue or address


def printable(text: object) -> str:
    """Returns a message of one or more lines, with control characters as Python writes them: \\x1b."""
    return CONTROLS.sub(_written, str(text))


def in_one_line(text: object) -> str:
    """Does the same for a cell or a name: ends of lines and tabs are written out, too."""
    return BREAKS.sub(_written, str(text))


def markdown(text: object) -> str:
    """Escapes text for one line of GitHub's Markdown: no HTML, link, picture, mention or formula is left in it."""
    safe = html.escape(in_one_line(text), quote=False)
    safe = re.sub(r"([\\`*\[\]|~$])", r"\\\1", safe)
    safe = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", safe)  # inside of words it is plain
    safe = re.sub(r"(?<!&)([@#])(?=\w)|(:)(?=//)|\b(www)(?=\.)", lambda match: match[0] + APART, safe, flags=re.I)
    return re.sub(r"^#", r"\\#", safe)


class Terminal:
    """A stream that shows no control characters but ends of lines and tabs."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _written(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
