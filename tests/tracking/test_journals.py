"""Journals are read while they grow, and when a resumed training writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.tracking.journals import Piece, times


def line(epoch: int, loss: float = 1.0, time: float = 0.0) -> str:
    return json.dumps({"epoch": epoch, "time": time, "metrics": {"loss": loss}}) + "\n"


def steps_after(piece: Piece) -> list[int]:
    """The steps that a look at the journal adds."""
    piece.read()
    found = [point.step for point in piece.unsent]
    piece.unsent.clear()
    return found


@pytest.fixture
def piece(tmp_path: Path) -> Piece:
    return Piece(tmp_path / "trial-000.jsonl", "run")


def test_half_written_line_waits_for_its_end(piece: Piece) -> None:
    whole = line(1, loss=1.0, time=2.0)
    piece.journal.write_text(line(0) + whole[:12])
    assert steps_after(piece) == [0]
    with piece.journal.open("a") as stream:
        stream.write(whole[12:])
    assert steps_after(piece) == [1]
    assert steps_after(piece) == []


@pytest.mark.parametrize("rewritten", [range(2), range(3), range(6)], ids=["shorter", "as long", "longer"])
def test_journal_that_a_resumed_training_wrote_anew_gives_every_step_once(piece: Piece, rewritten: range) -> None:
    piece.journal.write_text("".join(map(line, range(3))))
    assert steps_after(piece) == [0, 1, 2]
    piece.journal.write_text("".join(line(epoch, time=100.5) for epoch in rewritten))
    assert steps_after(piece) == [step for step in rewritten if step > 2]
    with piece.journal.open("a") as stream:
        stream.write(line(6) + line(7))
    assert steps_after(piece) == [6, 7]


def test_damaged_lines_and_missing_journals_are_passed_over(piece: Piece) -> None:
    assert steps_after(piece) == []
    piece.journal.write_text("\x00\x00\n[1]\n" + '{"epoch": 0}\n' + line(3))
    assert steps_after(piece) == [3]


def test_times_of_all_journals(tmp_path: Path) -> None:
    (tmp_path / "repeat-0.jsonl").write_text(line(0, time=5.5) + line(1, time=7.25))
    (tmp_path / "repeat-1.jsonl").write_text(line(0, time=6.0) + "{")
    assert times(tmp_path) == {"repeat-0": {"0": 5.5, "1": 7.25}, "repeat-1": {"0": 6.0}}
