"""Own data on the way of a team: added, pushed, cloned, pulled, changed, gone back to, cleaned up; nothing is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clones import Clone, store
from PIL import Image

pytestmark = pytest.mark.timeout(600)
PREPARE = "prepare@shades"
FOLDER = "data/raw/shades"


def with_shades(document: dict[str, Any]) -> None:
    """One experiment on own pictures, with the smallest budget."""
    experiment = document["experiments"]["digits"]
    data = {"path": FOLDER, "format": "class_folders", "options": {"height": 4, "width": 4, "mode": "L"}}
    budget = {"batch_size": 4, "trials": 1, "generation": 1, "trial_epochs": 1, "pruning": None}
    experiment["training"] |= budget | {"epochs": 1, "patience": 1, "repeats": 1}
    experiment |= {"candidates": ["shades-cnn"], "data": {**data, "parts": {"all": {"directory": "."}}}}
    candidate = document["candidates"]["digits-cnn"] | {"experiment": "shades"}
    candidate["parameters"] |= {"architecture": "vgg", "learning_rate": 0.01}
    document["experiments"], document["downloads"] = {"shades": experiment}, {}
    document["candidates"] = {"shades-cnn": candidate}


def draw(folder: Path, number: int) -> None:
    """One picture for each of two classes; one of them is called like a folder that tools make."""
    for kind, grey in (("dark", 40), ("mlartifacts", 200)):
        place = folder / FOLDER / kind
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), grey + number, dtype=np.uint8)).save(place / f"{number:02d}.png")


def contents(clone: Clone) -> dict[str, bytes]:
    root = clone.folder / FOLDER
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def first(clone_into: Callable[[Path], Clone], tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A repository with own data that were added, prepared, committed and pushed."""
    base = tmp_path_factory.mktemp("team")
    clone = clone_into(base / "first")
    clone.edit(with_shades)
    for number in range(10):
        draw(clone.folder, number)
    clone.run("dvc", "add", "-q", FOLDER)
    clone.run("dvc", "remote", "add", "-q", "--default", "store", str(base / "store"))
    ran, _ = clone.repro(PREPARE)
    assert ran == [PREPARE]
    clone.commit()
    clone.run("dvc", "push", "-q")
    return clone


def test_nothing_is_lost_and_nothing_reruns_on_the_way_of_a_team(first: Clone, tmp_path: Path) -> None:
    assert len(contents(first)) == 20
    first.run("git", "clone", "-q", str(first.folder), str(tmp_path / "second"))
    second = Clone(tmp_path / "second")
    second.run("dvc", "pull", "-q", "--allow-missing")  # what was never computed is nowhere
    assert contents(second) == contents(first), "a colleague has all data"
    assert second.repro(PREPARE)[0] == [], "and need not compute what was pushed"

    second.run("git", "switch", "-q", "-c", "more")
    draw(second.folder, 10)
    larger = contents(second)
    assert second.repro(PREPARE)[0] == [PREPARE], "DVC sees that data have changed"
    second.commit()
    second.run("dvc", "push", "-q")
    second.run("git", "switch", "-q", "main")
    second.run("dvc", "checkout", "-q", "--allow-missing")
    assert contents(second) == contents(first), "the branch's data have gone"
    assert second.repro(PREPARE)[0] == []

    second.run("dvc", "gc", "-w", "-f", "-q")
    second.run("dvc", "checkout", "-q", "--allow-missing")
    assert contents(second) == contents(first)
    second.run("git", "switch", "-q", "more")
    second.run("dvc", "pull", "-q", "--allow-missing")
    assert contents(second) == larger, "the branch's data are back"
    assert second.repro(PREPARE)[0] == []
    assert second.status() == ""


def test_experiments_in_copies_work_with_own_data_and_are_tracked_and_not_registered(first: Clone) -> None:
    said = first.run("dvc", "exp", "run", "--temp", "--name", "tried", "-S", "seed=1").stdout
    assert "Running stage 'evaluate@shades'" in said
    assert "the experiment tried is tracked and not registered" in said
    tracked = store(first.folder / "mlflow.db")
    assert tracked["runs"] and (tracked["versions"], tracked["aliases"]) == ([], [])
    with sqlite3.connect(first.folder / "mlflow.db") as connection:
        names = connection.execute("select distinct value from tags where key = 'pipeline.dvc_experiment'").fetchall()
    assert names == [("tried",)]
    assert not (first.folder / "reports/registry.json").exists() and first.status() == ""

    first.run("dvc", "exp", "run", "--queue", "--name", "queued", "-S", "seed=2", PREPARE)
    first.run("dvc", "exp", "run", "--run-all")
    assert {"tried", "queued"} <= set(first.run("dvc", "exp", "list", "--name-only").stdout.split())
    assert len(contents(first)) == 20, "the data are where they were"

    first.run("dvc", "exp", "apply", "tried")
    assert "seed: 1" in first.read("params.yaml")
    first.run("dvc", "repro", "register")
    assert store(first.folder / "mlflow.db")["versions"] == [("shades", 1)], "taken over by hand, it is a version"


def test_a_search_runs_again_for_its_own_budget_and_not_for_that_of_the_training(first: Clone) -> None:
    first.run("git", "switch", "-q", "--force-create", "budget", "main")
    first.run("git", "checkout", "-q", "-f", "main")
    first.run("dvc", "checkout", "-q", "--allow-missing")
    first.repro("tune@shades-cnn")

    def change(**values: Any) -> list[str]:
        first.edit(lambda document: document["experiments"]["shades"]["training"].update(values))
        return first.repro("tune@shades-cnn")[0]

    assert change(epochs=2, patience=2, repeats=2) == []
    assert change(trial_epochs=2) == ["tune@shades-cnn"]
