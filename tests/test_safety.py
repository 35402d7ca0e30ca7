"""Attacks: nothing that comes from outside is executed, and nothing secret is told.

Archives: data/test_unpack.py. Checksums and addresses of downloads: data/test_download.py. Workflow inputs:
workflows/test_retrain.py. Passwords in a whole run: end_to_end/test_elsewhere.py.
"""

from __future__ import annotations

import ast
import gzip
import io
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
CODE = sorted((ROOT / "pipeline").rglob("*.py"))
UNPICKLING = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads", "joblib.load",
    "dill.load", "dill.loads", "pandas.read_pickle", "pd.read_pickle", "shelve.open", "marshal.loads", "marshal.load",
    "eval", "exec", "os.system", "os.popen", "yaml.unsafe_load", "mlflow.sklearn.load_model",
    "mlflow.pytorch.load_model",
}  # fmt: skip
SAFE_ONLY_WITH = {"torch.load": ("weights_only", True), "YAML": ("typ", "safe")}
NEVER_WITH = {"np.load": "allow_pickle", "numpy.load": "allow_pickle", "subprocess.run": "shell"}
# ruamel's round-trip loader makes no objects either; its file is our own MLmodel or params.yaml.
ROUND_TRIP = {"pipeline/serving/description.py", "pipeline/recipes.py"}


class Marker:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "executed")


def dangers(source: str, name: str) -> list[str]:
    """Calls in a Python file that may execute what they read."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        needed = SAFE_ONLY_WITH.get(called)
        if called in UNPICKLING or given.get(NEVER_WITH.get(called, "")):
            found.append(f"{name}:{node.lineno} {called}")
        elif needed and given.get(needed[0]) != needed[1] and name not in ROUND_TRIP:
            found.append(f"{name}:{node.lineno} {called} without {needed[0]}={needed[1]}")
    return found


def test_no_call_in_the_pipeline_can_execute_what_it_reads() -> None:
    names = {path: path.relative_to(ROOT).as_posix() for path in CODE}
    assert [danger for path in CODE for danger in dangers(path.read_text(encoding="utf-8"), names[path])] == []


@pytest.mark.parametrize(
    "line",
    ["pickle.load(f)", "torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)",
     "subprocess.run(c, shell=True)", "YAML().load(f)", "joblib.load(f)"],
)  # fmt: skip
def test_the_search_for_such_calls_finds_them(line: str) -> None:
    assert dangers(line, "x.py")


def evil(kind: str, marker: Path) -> bytes:
    """A file that writes `marker` when it is unpickled."""
    stream = io.BytesIO()
    if kind == "npy":
        np.save(stream, np.array([Marker(marker)], dtype=object), allow_pickle=True)
    elif kind == "pt":
        torch.save(Marker(marker), stream)
    else:
        pickle.dump(Marker(marker), stream)
    return stream.getvalue()


def test_the_attack_works_where_somebody_unpickles(tmp_path: Path) -> None:
    """Otherwise the tests below prove nothing."""
    for kind, load in (
        ("pkl", pickle.loads),
        ("npy", lambda data: np.load(io.BytesIO(data), allow_pickle=True)),
        ("pt", lambda data: torch.load(io.BytesIO(data), weights_only=False)),
    ):
        load(evil(kind, tmp_path / kind))
        assert (tmp_path / kind).read_text() == "executed"


@pytest.mark.parametrize("kind", ["pkl", "npy", "pt"])
def test_no_format_executes_what_lies_in_the_raw_data(kind: str, tmp_path: Path) -> None:
    from pipeline.formats import FORMATS

    marker, raw = tmp_path / "marker", tmp_path / "raw"
    for name in ("cats", "sounds"):
        (raw / name).mkdir(parents=True)
    content = evil(kind, marker)
    files = {
        "x.csv": content,
        "x.gz": gzip.compress(content),
        f"cats/x.{kind}": content,
        "cats/x.png": content,
        "sounds/x.wav": content,
    }
    for name, data in files.items():
        (raw / name).write_bytes(data)
    asked: dict[str, dict[str, Any]] = {
        "pixel_table": {"file": "x.gz", "height": 2, "width": 2, "channels": 1, "maximum": 255},
        "csv_series": {"file": "x.csv", "date": "date", "date_format": "ISO8601", "columns": ["a"]},
        "class_folders": {"directory": ".", "height": 2, "width": 2, "mode": "L"},
        "idx": {"images": "x.gz", "labels": "x.csv"},
        "parallel_text": {"source": "x.csv", "target": "x.gz"},
        "labelled_text": {"file": "x.gz"},
        "ts": {"file": "x.gz"},
        "pascal_voc": {"directory": ".", "height": 2, "width": 2, "mode": "L"},
        "coco": {"images": "cats", "annotations": "x.csv", "height": 2, "width": 2, "mode": "L"},
        "recordings": {"directory": "cats", "transcripts": "x.csv", "sample_rate": 8000},
        "named_recordings": {"directory": "sounds", "pattern": "{text}", "sample_rate": 8000},
        "joined_recordings": {
            "directory": "sounds",
            "pattern": "{text}",
            "sample_rate": 8000,
            "words_joined": [1, 2],
            "gap": [0.0, 0.1],
            "passes": 1,
        },
        "content_and_style": {"content": ["cats"], "style": ["x.csv"], "size": 2, "shorter_side": 2},
    }
    assert set(asked) == set(FORMATS), "a new format is attacked, too"
    for name, options in asked.items():
        with pytest.raises(ValueError):
            FORMATS[name](raw, **options)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["vgg16.pth", "vgg16.pt", "vgg16.safetensors"])
def test_published_weights_that_hold_code_are_refused(name: str, tmp_path: Path) -> None:
    from pipeline.models.weights import read_weights

    for kind in ("pt", "pkl"):
        (tmp_path / name).write_bytes(evil(kind, tmp_path / "marker"))
        with pytest.raises(ValueError, match=f"{name}: not readable as weights"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "marker").exists()


def test_no_figure_of_a_version_is_unpickled(tmp_path: Path) -> None:
    from pipeline.serving.rehearse import read_scores

    (tmp_path / "scores.npy").write_bytes(evil("npy", tmp_path / "marker"))
    with pytest.raises(ValueError):
        read_scores(tmp_path / "scores.npy")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["train.safetensors", "model.safetensors"])
def test_weights_and_tables_that_are_pickles_are_refused(name: str, prepared: Path, tmp_path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    (tmp_path / name).write_bytes(evil("pt", tmp_path / "marker"))
    with pytest.raises(SafetensorError):
        load_file(tmp_path / name)
    assert not (tmp_path / "marker").exists()


def test_the_ui_listens_on_this_machine_alone(
    tmp_path: Path, tiny: dict[str, Any], save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.commands import ui
    from pipeline.params import load

    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda program, command, environment: started.append(command))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ui.main("5003", load(save(tiny, tmp_path)))
    (command,) = started
    assert command[command.index("--host") + 1] == "127.0.0.1" and "--allowed-hosts" not in command


def test_no_server_of_the_repository_is_told_to_listen_everywhere() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    here = Path(__file__).relative_to(ROOT).as_posix()
    named = [name for name in listed.split("\0") if name and name != here and (ROOT / name).is_file()]
    everywhere = "0.0.0" + ".0"
    assert [name for name in named if everywhere in (ROOT / name).read_text("utf-8", "replace")] == []


SECRET = "geheim-7f3a"


@pytest.mark.parametrize("place", ["environment", "params"])
def test_no_stage_tells_the_password_of_an_address(
    place: str, tmp_path: Path, prepared: Path, tiny: dict[str, Any], save: Any, call: Any
) -> None:
    """Nobody answers at this address: the messages about that are where secrets usually show."""
    address = f"http://ann:{SECRET}@127.0.0.1:9/?token={SECRET}"
    storage = f"postgresql://ann:{SECRET}@127.0.0.1:9/study"
    (tmp_path / "data").symlink_to(prepared / "data")
    variables = {}
    if place == "params":
        tiny["tracking"]["uri"], tiny["study"]["storage"] = address, storage
    else:
        variables = {"MLFLOW_TRACKING_URI": address, "PIPELINE_STUDY_STORAGE": storage}
    save(tiny, tmp_path)
    for stage in (["tune", "co2-rnn"], ["register"], ["report"], ["ui"]):
        done = call(tmp_path, *stage, **variables)
        assert SECRET not in done.stdout + done.stderr, stage
        assert "Traceback" not in done.stderr, done.stderr
    assert told(tmp_path, but="params.yaml") == []


def told(folder: Path, but: str = "") -> list[str]:
    """Files below a folder in which the secret stands."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != but]
    return [str(path) for path in files if SECRET.encode() in path.read_bytes()]
