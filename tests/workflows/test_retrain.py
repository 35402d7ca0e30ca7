"""The steps of retrain.yml in a fresh clone of a small repository, with a bare Git remote and a local DVC remote."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.commands.retrain import ALLOWED, overrides
from pipeline.params import ParamsError, load

PARAMS = """\
seed: 0  # of everything
threads: 1
workers: 1
checkpoint_steps: 5
launcher: null
study: {storage: null}
trainer: {accelerator: cpu, devices: 1, num_nodes: 1, strategy: auto, precision: 32-true, options: {}}
tracking: {uri: null, artifacts: null}
evaluation: {resamples: 100, confidence: 0.95}
gate:
  {resamples: 100, confidence: 0.95, margin: 0.0, limits: {latency_ms: null, megabytes: null, worst_class: null}}
downloads:
  tiny: {tiny.csv: {url: "file:///tiny.csv", sha256: "%s"}}
experiments:
  tiny:
    description: A few numbers
    task: image_classification
    candidates: [tiny-cnn]
    data: {path: data/raw/tiny, format: pixel_table, options: {}, parts: {all: {}}}
    split: {validation: 0.2, test: 0.2}
    settings: {}
    training:
      {batch_size: 1, trials: 1, generation: 1, trial_epochs: 1, pruning: null, epochs: 1, patience: 1, repeats: 1}
candidates:
  tiny-cnn: {experiment: tiny, task: image_classification, family: cnn, parameters: {width: 1}}
""" % ("0" * 64)  # fmt: skip
STAGES = """\
stages:
  train:
    cmd: python train.py
    deps: [data.csv, train.py]
    params: [seed]
    outs: [models]
  evaluate:
    foreach: {tiny: {}}
    do:
      cmd: python evaluate.py
      deps: [models, evaluate.py]
      metrics:
        - metrics/tiny.json: {cache: false}
  report:
    cmd: python report.py
    always_changed: true
    deps: [metrics/tiny.json]
"""
TRAIN = """\
import pathlib
pathlib.Path("trained").touch()
seed = pathlib.Path("params.yaml").read_text().split()[1]
pathlib.Path("models").mkdir(exist_ok=True)
pathlib.Path("models/weights").write_text(pathlib.Path("data.csv").read_text() + f" with seed {seed}")
"""
EVALUATE = """\
import json, pathlib
pathlib.Path("metrics").mkdir(exist_ok=True)
weights = pathlib.Path("models/weights").read_text().split()[0]
pathlib.Path("metrics/tiny.json").write_text(json.dumps({"sum": sum(map(int, weights.split(",")))}))
"""
REPORT = """\
import pathlib
pathlib.Path("reports").mkdir(exist_ok=True)
pathlib.Path("reports/summary.md").write_text("The sum is " + pathlib.Path("metrics/tiny.json").read_text())
"""
# Writes what it was called with, and answers like GitHub's tool for a repository with the pull requests of $GH_OPEN.
GH = """\
import json, os, pathlib, sys
call = {"arguments": sys.argv[1:]}
if "--body-file" in sys.argv:
    call["text"] = pathlib.Path(sys.argv[sys.argv.index("--body-file") + 1]).read_text()
with open(os.environ["GH_CALLS"], "a") as lines:
    lines.write(json.dumps(call) + "\\n")
print(os.environ.get("GH_OPEN", "[]") if sys.argv[2] == "list" else "the address of pull request 7")
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with origin.git, storage (the DVC remote) and gh on PATH; Git knows no person here, as in CI."""
    tool = tmp_path / "bin" / "gh"
    tool.parent.mkdir()
    tool.write_text(f"#!{sys.executable}\n{GH}", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv(
        "PATH", f"{tool.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("GH_CALLS", str(tmp_path / "calls.jsonl"))
    for name in ("GH_TOKEN", "GH_OPEN", "RETRAIN_EXPERIMENT", "RETRAIN_OVERRIDES", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    for kind in ("AUTHOR", "COMMITTER"):
        for name in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{kind}_{name}", raising=False)
    yield tmp_path


def command(*words: str, where: Path) -> str:
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def dvc(*words: str, where: Path) -> str:
    return command(sys.executable, "-m", "dvc", *words, where=where)


def retrain(step: str, where: Path) -> str:
    return command(sys.executable, "-m", "pipeline", "retrain", step, where=where)


def calls(outside: Path) -> list[dict[str, object]]:
    path = outside / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def make_origin(outside: Path, *, storage: bool) -> None:
    """A first commit with parameters, stages and data, but without any result."""
    first = outside / "first"
    first.mkdir()
    command("git", "init", "--quiet", "--initial-branch=main", where=first)
    dvc("init", "--quiet", where=first)
    if storage:
        dvc("remote", "add", "--default", "storage", str(outside / "storage"), where=first)
    files = {"params.yaml": PARAMS, "dvc.yaml": STAGES, "data.csv": "1,2,3", ".gitignore": "/reports/\n/trained\n"}
    for name, text in (files | {"train.py": TRAIN, "evaluate.py": EVALUATE, "report.py": REPORT}).items():
        (first / name).write_text(text, encoding="utf-8")
    commit(first, "Start")
    command("git", "clone", "--quiet", "--bare", str(first), "origin.git", where=outside)


def commit(where: Path, message: str) -> None:
    person = ("-c", "user.name=A person", "-c", "user.email=person@example.org")
    command("git", "add", "--all", where=where)
    command("git", *person, "commit", "--quiet", "--message", message, where=where)


def fresh_clone(outside: Path, name: str) -> Path:
    """As actions/checkout does it: the newest commit only."""
    address = (outside / "origin.git").as_uri()
    command("git", "clone", "--quiet", "--depth=1", "--branch=main", address, name, where=outside)
    return outside / name


def test_retraining_stores_outputs_pushes_the_lock_and_proposes_the_summary(outside: Path) -> None:
    make_origin(outside, storage=True)
    clone = fresh_clone(outside, "ci")
    for step in ("restore", "run", "publish", "propose"):
        retrain(step, clone)

    changed = command("git", "diff", "--name-only", "main", "retrain/main", where=outside / "origin.git").split()
    assert changed == [".gitignore", "dvc.lock", "metrics/tiny.json"]
    author = command("git", "log", "-1", "--format=%an", "retrain/main", where=outside / "origin.git")
    assert author == "github-actions[bot]"

    asked, opened = calls(outside)
    assert asked["arguments"][:2] == ["pr", "list"]  # type: ignore[index]
    assert opened["text"] == 'The sum is {"sum": 6}'
    words = opened["arguments"]
    assert words[:6] == ["pr", "create", "--head", "retrain/main", "--base", "main"]  # type: ignore[index]

    reader = outside / "reader"  # somebody else, who has only the branch and the storage
    command("git", "clone", "--quiet", "--branch=retrain/main", str(outside / "origin.git"), "reader", where=outside)
    dvc("pull", "--quiet", where=reader)
    assert (reader / "models" / "weights").read_text() == "1,2,3 with seed 0"


def test_a_second_retraining_trains_nothing_and_changes_nothing(outside: Path) -> None:
    make_origin(outside, storage=True)
    first = fresh_clone(outside, "first-run")
    for step in ("restore", "run", "publish", "propose"):
        retrain(step, first)
    before = command("git", "rev-parse", "retrain/main", where=outside / "origin.git")

    waiting = fresh_clone(outside, "before-the-merge")  # the pull request is still open: main is as it was
    retrain("restore", waiting)
    retrain("run", waiting)
    assert not (waiting / "trained").exists()  # the run cache came from the DVC remote
    assert "holds this result already" in retrain("publish", waiting)
    assert command("git", "rev-parse", "retrain/main", where=outside / "origin.git") == before

    command("git", "update-ref", "refs/heads/main", "retrain/main", where=outside / "origin.git")  # merged
    merged = fresh_clone(outside, "after-the-merge")
    retrain("restore", merged)
    retrain("run", merged)
    assert not (merged / "trained").exists()
    assert "nothing changed" in retrain("publish", merged)
    asked = len(calls(outside))
    assert "no pull request" in retrain("propose", merged)
    assert len(calls(outside)) == asked


def test_overrides_reach_params_yaml_and_an_open_pull_request_is_updated(
    outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_origin(outside, storage=False)
    clone = fresh_clone(outside, "ci")
    summary = outside / "summary.md"
    monkeypatch.setenv("RETRAIN_OVERRIDES", "-S seed=5")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GH_OPEN", '[{"number": 7}]')
    assert "everything will be computed here" in retrain("restore", clone)
    retrain("run", clone)
    assert (clone / "models" / "weights").read_text() == "1,2,3 with seed 5"
    assert summary.read_text() == 'The sum is {"sum": 6}'
    retrain("publish", clone)
    pushed = command("git", "show", "retrain/main:params.yaml", where=outside / "origin.git")
    assert pushed.startswith("seed: 5  # of everything\nthreads: 1\n")  # nothing else of the file changed

    assert "pull request 7 is up to date" in retrain("propose", clone)
    edited = calls(outside)[-1]
    assert edited["arguments"][:3] == ["pr", "edit", "7"]  # type: ignore[index]
    assert "No DVC remote is configured" in str(edited["text"])


def test_work_of_a_person_on_the_branch_is_not_replaced(outside: Path) -> None:
    make_origin(outside, storage=False)
    person = fresh_clone(outside, "person")
    command("git", "switch", "--quiet", "--create", "retrain/main", where=person)
    (person / "notes.txt").write_text("do not lose me", encoding="utf-8")
    commit(person, "Explain the result")
    command("git", "push", "--quiet", "origin", "retrain/main", where=person)

    clone = fresh_clone(outside, "ci")
    retrain("run", clone)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "retrain", "publish"], cwd=clone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'Explain the result' that is not of a retraining; merge or delete it first" in done.stderr
    assert command("git", "show", "retrain/main:notes.txt", where=outside / "origin.git") == "do not lose me"


DOCUMENT = {
    "seed": 0, "launcher": None, "trainer": {"devices": 1, "plugins": None}, "tracking": {"uri": None},
    "study": {"storage": None}, "gate": {"margin": 0.0}, "downloads": {"a": {"a.csv": {"url": "file:///a"}}},
    "experiments": {"a": {"training": {"epochs": 1}, "settings": {"season": 1}, "split": {"test": 0.2},
                          "data": {"path": "data/raw/a"}, "gate": None, "task": "forecasting"}},
    "candidates": {"a-cnn": {"parameters": {"width": {"choices": [1, 2]}}, "weights": None, "family": "cnn"}},
}  # fmt: skip


@pytest.mark.parametrize("text", ["--force", "-S --queue", "seed", "-S 'seed=1"])
def test_overrides_cannot_smuggle_in_options(text: str) -> None:
    with pytest.raises(ParamsError, match="RETRAIN_OVERRIDES: found"):
        overrides(text, DOCUMENT)


@pytest.mark.parametrize("sign", list('|;&$`<>()*?~#!\\"\n'))
def test_overrides_cannot_smuggle_in_commands(sign: str) -> None:
    """DVC makes a stage of every name under `downloads` and hands its command to a shell."""
    for word in (f"+downloads={{x {sign} touch pwned: {{a: 1}}}}", f"trainer.devices=1 {sign} 2", f"seed{sign}=1"):
        with pytest.raises(ParamsError, match="RETRAIN_OVERRIDES: found"):
            overrides(f"-S {shlex.quote(word)}", DOCUMENT)


@pytest.mark.parametrize("key", [
    "launcher", "../outside.yaml:a", "other.yaml:seed", "params.yaml:seed", "/etc/x.yaml:seed", "+seed", "++seed",
    "~seed", "seed@a", "a/b=seed", "", ".", "seed.", ".seed", "seed.a", "trainer", "trainer.plugins", "trainer.logger",
    "tracking.uri", "tracking.artifacts", "study.storage", "downloads.a", "downloads.a.a~csv.url", "gate.margin",
    "experiments.a", "experiments.a.training", "experiments.a.task", "experiments.a.data.path", "experiments.a.gate",
    "experiments.b.training.epochs", "experiments.*.training.epochs", "experiments.a.training.other", "candidates",
    "candidates.a-cnn", "candidates.a-cnn.family", "candidates.a-cnn.parameters", "candidates.a-cnn.weights",
    "candidates.a-cnn.parameters.width.choices.0", "Seed",
])  # fmt: skip
def test_overrides_set_nothing_but_what_is_listed(key: str) -> None:
    with pytest.raises(ParamsError, match="RETRAIN_OVERRIDES: found"):
        overrides(f"-S {shlex.quote(key + '=1')}", DOCUMENT)


@pytest.mark.parametrize("key", [
    "seed", "trainer.devices", "experiments.a.training.epochs", "experiments.a.settings.season",
    "experiments.a.split.test", "candidates.a-cnn.parameters.width", "candidates.a-cnn.parameters.width.choices",
])  # fmt: skip
def test_overrides_set_what_is_listed(key: str) -> None:
    assert overrides(f"-S seed=3 -S {key}=1", DOCUMENT) == ["seed=3", f"{key}=1"]


def test_every_listed_key_stands_in_params_yaml() -> None:
    document = load(Path(__file__).parents[2] / "params.yaml").model_dump()
    for pattern in ALLOWED:
        places = [document]
        for name in pattern.split("."):
            places = [place[key] for place in places for key in (place if name == "*" else [name])]
        assert places, pattern


@pytest.mark.parametrize("text", ["-S launcher='touch {pwned}'", "-S '{pwned}.yaml:a=1'"])
def test_no_command_is_set_and_no_other_file_is_written(text: str, outside: Path) -> None:
    make_origin(outside, storage=False)
    clone, pwned = fresh_clone(outside, "ci"), outside / "pwned"
    (outside / "pwned.yaml").write_text("a: 0\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "retrain", "run"], cwd=clone, capture_output=True, text=True, check=False,
        env={**os.environ, "RETRAIN_OVERRIDES": text.format(pwned=pwned)},
    )  # fmt: skip
    assert done.returncode == 2 and "RETRAIN_OVERRIDES: found the key" in done.stderr
    assert not pwned.exists() and (outside / "pwned.yaml").read_text() == "a: 0\n"
    assert command("git", "status", "--porcelain", where=clone) == ""


def test_an_attack_through_the_input_runs_nothing(outside: Path) -> None:
    make_origin(outside, storage=False)
    clone = fresh_clone(outside, "ci")
    fetch = "  fetch: {foreach: '${downloads}', do: {cmd: 'echo fetch ${key}', outs: ['data/raw/${key}']}}\n"
    (clone / "dvc.yaml").write_text(STAGES + fetch, encoding="utf-8")
    attack = f"-S '+downloads={{x | touch {outside / 'pwned'}: {{a: 1}}}}'"
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "retrain", "run"], cwd=clone, capture_output=True, text=True, check=False,
        env={**os.environ, "RETRAIN_OVERRIDES": attack},
    )  # fmt: skip
    assert not (outside / "pwned").exists()
    assert done.returncode == 2 and "RETRAIN_OVERRIDES: found" in done.stderr and "Traceback" not in done.stderr
    assert command("git", "status", "--porcelain", "params.yaml", where=clone) == ""


def test_overrides_keep_quoted_values_whole() -> None:
    assert overrides("-S seed=1 -S 'candidates.a-cnn.parameters.width={choices: [1, 2]}'", DOCUMENT) == [
        "seed=1",
        "candidates.a-cnn.parameters.width={choices: [1, 2]}",
    ]
