"""A killed stage leaves a folder that it was making: DVC does not see it, and the next stage removes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.files.atomic import replaced_folder, write_whole
from pipeline.files.leftovers import remove_leftovers

KILLED = """
import os, sys
from pathlib import Path
from pipeline.files.atomic import replaced_folder
with replaced_folder(Path(sys.argv[1])) as fresh:
    (fresh / "half").write_text("half")
    os.kill(os.getpid(), 9)
"""


def killed_at(folder: Path) -> None:
    """As `kill -9` of a stage that makes a folder, an hour ago."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env={**os.environ, "PYTHONPATH": str(root)})
    assert done.returncode == -9
    for path in folder.parent.glob(".*"):
        os.utime(path, (1.0, 1.0))


@pytest.mark.parametrize("place", ["data/raw/digits", "models/digits/digits-cnn", "evaluation/digits"])
def test_folder_of_a_killed_stage_is_removed_by_the_next_one(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / "whole").write_text("whole")
    killed_at(folder)
    assert [path.name for path in folder.parent.glob(".*")] == [f".{folder.name}.pipeline-new"]
    remove_leftovers(tmp_path)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (folder / "whole").read_text() == "whole"


def test_file_of_a_killed_writer_is_removed(tmp_path: Path) -> None:
    write_whole(tmp_path / "metrics/digits.json", b"{}")
    part = tmp_path / "metrics/.digits.json.pipeline-part"
    part.write_bytes(b"{")
    os.utime(part, (1.0, 1.0))
    assert remove_leftovers(tmp_path) == [part]
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["digits.json"]


def test_folder_that_another_process_makes_at_this_moment_is_left_alone(tmp_path: Path) -> None:
    with replaced_folder(tmp_path / "models/digits") as fresh:
        (fresh / "model").write_text("model")
        os.utime(fresh, (1.0, 1.0))
        code = "from pathlib import Path; from pipeline.files.leftovers import *; print(remove_leftovers(Path()))"
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True)
        assert done.stdout == b"[]\n", done.stderr
    assert (tmp_path / "models/digits/model").read_text() == "model"


def test_old_folder_whose_successor_never_came_is_put_back(tmp_path: Path) -> None:
    old = tmp_path / "evaluation/.digits.pipeline-old"
    old.mkdir(parents=True)
    (old / "whole").write_text("whole")
    remove_leftovers(tmp_path)
    assert (tmp_path / "evaluation/digits/whole").read_text() == "whole" and not old.exists()


def test_dvc_does_not_take_it_for_a_part_of_a_dependency(tmp_path: Path, root: Path) -> None:
    def dvc(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    (tmp_path / "models/digits").mkdir(parents=True)
    (tmp_path / "models/digits/model").write_text("model")
    shutil.copy(root / ".dvcignore", tmp_path)
    stage = "stages: {make: {cmd: mkdir -p out && echo a > out/a, deps: [models], outs: [out]}}\n"
    (tmp_path / "dvc.yaml").write_text(stage)
    dvc("init", "--no-scm", "-q")
    dvc("repro", "-q")
    before = (tmp_path / "dvc.lock").read_bytes()
    for folder in (tmp_path / "models/digits", tmp_path / "models/digits/cnn", tmp_path / "out/part"):
        killed_at(folder)
    (tmp_path / "models/.a.json.pipeline-part").write_bytes(b"{")
    assert "up to date" in dvc("status")
    dvc("repro", "-q")
    dvc("commit", "-q", "-f")
    assert (tmp_path / "dvc.lock").read_bytes() == before
