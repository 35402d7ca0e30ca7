"""Names and texts of users change nothing but themselves in Markdown, in terminals and in messages."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.escaping import Terminal, in_one_line, markdown, printable

HOSTILE = "\x1b[31mred\x07 <img src=x onerror=alert(1)> [link](https://evil.example) @everyone ![p](//x) `c` **b** |"
HOSTILE += "\u202e #12\n# top"


@pytest.mark.parametrize(("text", "expected"), [
    ("plain-name, 3 × 0.5 (95 % interval −0.1 to 0.2); macro_f1.",) * 2, ("a & b", "a &amp; b"),
    ("<img src=x>", "&lt;img src=x&gt;"), ("[a](b)", "\\[a\\](b)"), ("![a](b)", "!\\[a\\](b)"), ("a|b", "a\\|b"),
    ("@everyone", "@&#8203;everyone"), ("ann@host.org", "ann@&#8203;host.org"), ("#12", "\\#&#8203;12"),
    ("https://x.y", "https:&#8203;//x.y"), ("WWW.x.y", "WWW&#8203;.x.y"), 
    ("_a_ *b* `c` ~d~ $e$ \\", "\\_a\\_ \\*b\\* \\`c\\` \\~d\\~ \\$e\\$ \\\\"),
    ("a\nb\tc\x1b[0m", "a\\\\nb\\\\tc\\\\x1b\\[0m"), ("# title", "\\# title"), ("&#64;x", "&amp;#&#8203;64;x"),
])  # fmt: skip
def test_markdown_shows_what_was_written(text: str, expected: str) -> None:
    assert markdown(text) == expected


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b[2J\x9b\r\x00b\nc\td\u202e\ud800") == "a\\x1b[2J\\x9b\\r\\x00b\nc\td\\u202e\\ud800"
    assert in_one_line("a\nb\tc\u2028") == "a\\nb\\tc\\u2028"
    assert printable("Ünï 日本 👩‍🔬 −") == "Ünï 日本 👩‍🔬 −"
    stream = io.StringIO()
    print("a\x1bb", file=Terminal(stream))
    assert stream.getvalue() == "a\\x1bb\n"


def test_the_summary_of_a_pull_request_holds_no_markup_of_users() -> None:
    from pipeline.report.summary import _decision, _warnings

    class Found:
        notes, registry, card = [HOSTILE], {"pending": [HOSTILE]}, {"warnings": [HOSTILE]}

    registry = {"decision": {"promoted": False, "reason": HOSTILE}}
    lines = [*_warnings(Found), *_decision(registry, {})]  # type: ignore[arg-type]
    for line in lines:
        assert not any(
            sign in line for sign in ("<img", "[link](", "@everyone", "https://", "\x1b", "\n", "\u202e", " `c`")
        ), line
    assert sum("&lt;img" in line for line in lines) == 4


def test_the_table_of_predict_shows_no_control_characters_and_stays_aligned() -> None:
    from pipeline.serving.output import as_text

    table = pd.DataFrame(
        {"file\x1b": ["a\x1b[31m.png", "b.png"], "label": ["cat\nx", "dog"], "confidence": [0.5, 0.25]}
    )
    text = as_text(table, "table")
    assert "\x1b" not in text and len(text.splitlines()) == 3
    assert len({line.index(word) for line, word in zip(text.splitlines(), ("label", "cat", "dog"), strict=True)}) == 1
    assert "a\x1b[31m.png" in as_text(table, "csv"), "a file for other programs holds what is there"


def test_history_and_leaderboard_show_no_control_characters(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from pipeline.commands import history, leaderboard
    from pipeline.report.results import Results

    line = {"time": "2026-01-01T00:00:00", "by": HOSTILE, "from": "1", "to": "2", "reason": HOSTILE, "kind": HOSTILE,
            "challenger": None, "promoted": True}  # fmt: skip
    monkeypatch.setattr(history.record, "read", lambda root: {"experiments": {"digits": {"history": [line]}}})
    monkeypatch.setattr(history, "address_of", lambda tracking: type("Address", (), {"root": Path()}))
    history.main("digits", type("Params", (), {"experiments": {"digits": None}, "tracking": None}))  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "\\x1b[31mred" in said and "\x1b" not in said and said.count("\n") == 2
    found = Results.__new__(Results)
    for name, value in {"name": "digits", "metrics": None, "notes": [HOSTILE]}.items():
        object.__setattr__(found, name, value)
    assert "\x1b" not in leaderboard.table(found) and leaderboard.table(found).count("\n") == 1


def test_messages_on_a_terminal_show_no_control_characters(tiny: dict[str, Any], save: Any, tmp_path: Path) -> None:
    """A real terminal: names of params.yaml in the complaints of `check`, on standard output and error alike."""
    tiny["experiments"]["x\x1b[2J\ny"] = {"task": "x\x1b]0;title\x07"}
    tiny["seed"] = "\x1b[31mred"
    save(tiny, tmp_path)
    ours, theirs = pty.openpty()
    code = Path(__file__).parents[1]
    done = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "check"], cwd=tmp_path, stdout=theirs, stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(code)},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # so ends a terminal on Linux
        pass
    os.close(ours)
    assert done.wait() == 2 and b"\\x1b[2J" in said and b"\x1b" not in said and b"\x07" not in said
