"""The stage difference: the same bytes with any number of workers and however often it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import rigged_difference

from pipeline.params import ParamsError
from pipeline.stages import difference

ROOT = Path(__file__).parents[2]
SETTINGS = """
setting: quick
differences:
  memory: {reads: input.txt, seeds: {quick: 3, full: 4}, selection_seeds: 1, rates: [0.01, 0.1], steps: 2, batch: 4,
    margin: 0.0}
"""
PIECES = 2 * 2 + 3 * 3
# What tests and processes of their own do: the rigged difference under the name of a real one.
RIGGED = """
import sys, types, rigged_difference
from pipeline.stages import difference
sys.modules["pipeline.differences.memory"] = rigged_difference
difference._code = lambda name: "code"
difference.main("memory", types.SimpleNamespace(threads=1, workers=0))
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the settings of the rigged difference."""
    (tmp_path / "differences").mkdir()
    (tmp_path / "differences" / "params.yaml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "input.txt").write_text("read\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RIGGED_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")  # of workers and other processes
    monkeypatch.delenv("RIGGED_DEATH", raising=False)
    monkeypatch.setitem(sys.modules, "pipeline.differences.memory", rigged_difference)
    monkeypatch.setattr(difference, "_code", lambda name: "code")
    return tmp_path


def measured(workers: int) -> dict[str, bytes]:
    """The bytes of the result and of the figure."""
    params: Any = types.SimpleNamespace(threads=1, workers=workers)
    difference.main("memory", params)
    return {path.name: path.read_bytes() for path in sorted(Path("differences/results").iterdir())}


def pieces() -> list[str]:
    """The trainings that were begun so far."""
    return Path("log").read_text(encoding="utf-8").split()


def test_one_worker_and_two_write_the_same_bytes(repository: Path) -> None:
    alone = measured(0)
    assert sorted(alone) == ["memory.json", "memory.svg"]
    assert len(pieces()) == PIECES
    assert measured(2) == alone
    assert len(pieces()) == 2 * PIECES
    assert [path.name for path in Path(".work").iterdir()] == [], "what was kept for a resumption is gone"


def test_a_difference_that_is_killed_goes_on_and_ends_with_the_same_bytes(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = measured(0)
    first = pieces()
    Path("log").unlink()
    environment = {**os.environ, "RIGGED_DEATH": first[-3]}
    killed = subprocess.run([sys.executable, "-c", RIGGED], env=environment, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert measured(0) == expected
    assert sorted(set(pieces())) == sorted(set(first))
    assert len(pieces()) == PIECES + 1, "only the one that was killed began twice"
    timing = json.loads(Path("timings/differences/memory.json").read_text(encoding="utf-8"))
    assert timing["whole"] is False, "its seconds are not those of the whole work"


def test_a_training_whose_file_was_cut_short_is_done_again(repository: Path) -> None:
    expected = measured(0)

    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    judge, rigged_difference.judge = rigged_difference.judge, stopped
    try:
        with pytest.raises(KeyboardInterrupt):
            measured(0)
    finally:
        rigged_difference.judge = judge
    (work,) = Path(".work").iterdir()
    victim = min(work.glob("*.json"))
    victim.write_bytes(victim.read_bytes()[:5])
    begun = len(pieces())
    assert measured(0) == expected
    assert len(pieces()) == begun + 1


def test_what_a_difference_reads_is_part_of_what_it_resumes(repository: Path) -> None:
    key = json.loads(measured(0)["memory.json"])["key"]
    (repository / "input.txt").write_text("other\n", encoding="utf-8")
    assert json.loads(measured(0)["memory.json"])["key"] != key


def test_the_main_effect_is_known_although_files_sort_their_keys(repository: Path) -> None:
    found = json.loads(measured(0)["memory.json"])
    assert list(found["effects"]) == ["another", "the main one"]
    assert found["order"] == ["the main one", "another"]
    assert (found["setting"], found["budget"]["seeds"]) == ("quick", 3)


def test_an_unknown_difference_is_refused_with_the_nearest_name() -> None:
    params: Any = types.SimpleNamespace(threads=1, workers=1)
    with pytest.raises(ParamsError, match=r"found memories; allowed: connectivity, .*did you mean `memory`"):
        difference.main("memories", params)
