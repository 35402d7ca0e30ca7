"""Names of params.yaml in a real `dvc repro`: DVC hands commands to a shell before a stage can refuse a name."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
LOOPS = ("fetch", "prepare", "tune", "train", "evaluate")
NAMES = ["x; touch y1", "$(touch y2)", "`touch y3`", "'; touch y4; '", '"; touch y5; "', "x\ntouch y6", "x & touch y7",
         "x | touch y8", "x > y9", "\\'; touch y10 #", "${touch y11}", "--name y12", "*", "~", "x\\",
         "{touch,y13}", "\u2028touch y15", "x\rtouch y16", "x && touch y17", "{a: b}", "%PATH%"]  # fmt: skip


def dvc_yaml() -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
    return document["stages"]  # type: ignore[no-any-return]


def repro(folder: Path, stages: dict[str, Any], params: dict[str, Any]) -> str:
    """What `dvc repro` says in `folder`, where `python` only writes down its arguments and DVC_STAGE."""
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nprintf \'%s|%s\\0\' "$*" "$DVC_STAGE" >> {shlex.quote(str(folder / "asked"))}\n')
    python.chmod(0o755)
    for name, content in (("dvc.yaml", {"stages": stages}), ("params.yaml", params)):
        YAML(typ="safe", pure=True).dump(content, folder / name)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    for words in (["init", "-q", "--no-scm"], ["repro"]):
        command = [sys.executable, "-m", "dvc", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_no_name_of_params_yaml_is_run_by_dvc_repro(tmp_path: Path) -> None:
    """The commands of dvc.yaml as they are; outputs and dependencies, which no shell sees, are left out."""
    real = dvc_yaml()
    assert {name for name, stage in real.items() if "foreach" in stage} == set(LOOPS)
    stages = {
        name: {"foreach": stage["foreach"], "do": {"cmd": stage["do"]["cmd"]}}
        for name, stage in real.items()
        if "foreach" in stage
    }
    entries = {name: {"path": name, "task": name, "family": name, "experiment": name} for name in NAMES}
    said = repro(tmp_path / "safe", stages, dict.fromkeys(("downloads", "experiments", "candidates"), entries))
    asked = (tmp_path / "safe" / "asked").read_bytes().decode().split("\0")[:-1]
    expected = [f"-m pipeline {stage}|{stage}@{name}" for stage in LOOPS for name in NAMES]
    assert sorted(asked) == sorted(expected), said
    assert not list((tmp_path / "safe").glob("y*"))


def test_the_attack_works_where_a_command_holds_the_name(tmp_path: Path) -> None:
    """Otherwise the test above proves nothing."""
    stages = {"fetch": {"foreach": "${downloads}", "do": {"cmd": "python -m pipeline fetch ${key}"}}}
    repro(tmp_path / "open", stages, {"downloads": {name: {} for name in NAMES[:3]}})
    assert sorted(path.name for path in (tmp_path / "open").glob("y*")) == ["y1", "y2", "y3"]


def test_no_command_of_dvc_yaml_holds_a_value_of_params_yaml() -> None:
    for name, stage in dvc_yaml().items():
        assert stage.get("do", stage)["cmd"] == f"python -m pipeline {name}"


@pytest.mark.parametrize(
    ("address", "expected"),
    [("train@digits-cnn", "digits-cnn"), ("sub/dvc.yaml:train@digits-cnn", "digits-cnn"), ("train@a@b", "a@b"),
     ("tune@digits-cnn", None), ("train", None), ("train@", None), ("", None)],
)  # fmt: skip
def test_a_stage_takes_its_name_from_dvc(address: str, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.guard.guard import name_from_dvc

    monkeypatch.setenv("DVC_STAGE", address)
    assert name_from_dvc("train") == expected


def test_a_stage_refuses_a_hostile_name_with_the_place_in_params_yaml(
    tmp_path: Path, tiny: dict[str, Any], save: Any, call: Any
) -> None:
    tiny["downloads"]["x; touch y"] = tiny["downloads"]["digits"]
    save(tiny, tmp_path)
    done = call(tmp_path, "fetch", DVC_STAGE="fetch@x; touch y")
    assert done.returncode == 2 and "downloads.x; touch y" in done.stderr and not (tmp_path / "y").exists()
