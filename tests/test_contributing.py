"""CONTRIBUTING's table of places is true: an addition works that touches these places alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from declarations import ROOT, code, declared, pairs, starts
from ruamel.yaml import YAML

from pipeline.files.code import import_closure
from pipeline.params import load

FORMAT = '''"""Grey pictures as lines of text: a digit a pixel, then the name of the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.formats.records import Images


def digit_lines(folder: Path, *, file: str, side: int) -> Images:
    lines = [line.split() for line in (folder / file).read_text(encoding="utf-8").splitlines()]
    pixels = np.array([[int(digit) for digit in digits] for digits, _ in lines], dtype=np.uint8)
    labels = np.array([label for _, label in lines])
    return Images(pixels.reshape(-1, 1, side, side), labels, maximum=9, names=None)
'''
NETWORK = '''"""A linear head on the mean of the features."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.models.encoder import Encoder


class Head(nn.Module):
    def __init__(self, encoder: Encoder, classes: int, brightness: float) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.out_channels, classes)
        self.brightness, self.label_smoothing = brightness, 0.0

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(images.float() * self.brightness).mean(dim=(2, 3)))
        return logits
'''
TASK = '''"""Grey classification: one of the classes for a picture."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd
import torch

from pipeline.models.encoder import check_ranges
from pipeline.tasks.grey_classification.network import Head
from pipeline.tasks.task import ClassificationTask


class GreyClassification(ClassificationTask):
    dimensions = 2
    reads = "picture"
    SETTINGS: ClassVar = {}
    RANGES: ClassVar = {"brightness": (0.01, 1.0)}

    def prepare(self, parts, split, seed):
        from pipeline.data.images import prepare_images

        return prepare_images(dict(parts), split, seed)

    def examples(self, table, card):
        return {"images": table["images"], "labels": table["labels"]}

    def network(self, encoders, card, *, brightness: float):
        check_ranges(self.RANGES, brightness=brightness)
        return Head(encoders(card["channels"]), len(card["classes"]), brightness)

    def augment(self, network, batch):
        return batch

    def output(self, network, batch):
        return network(batch["images"])

    @torch.inference_mode()
    def predict(self, network, examples, card):
        from pipeline.tasks.classification import prediction_table

        return prediction_table(network(examples["images"]).softmax(1).double().numpy(), examples["labels"].numpy())

    def baselines(self, tables, card, seed):
        return {}

    def pictures(self, predictions, table, card, folder, title):
        return []

    def input_example(self, table, card):
        return pd.DataFrame()

    def answer(self, network, request, card):
        return pd.DataFrame()

    def probes(self, table, predictions, card):
        return []
'''
FAMILY = '''"""Products of matrices at every point: a family without a neighbourhood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from pipeline.models.encoder import check_ranges, check_shape, choose


class Pointwise(nn.Module):
    ARCHITECTURES: ClassVar[Mapping[str, Any]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
    PRESETS: ClassVar[Mapping[str, str]] = {}
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {"units": (1, 512)}
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"units": 4}

    def __init__(self, in_channels: int, dimensions: int, causal: bool, *, architecture: str, units: int) -> None:
        super().__init__()
        check_shape(dimensions)
        check_ranges(self.RANGES, units=units)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, units, 1), choose(architecture, self.ARCHITECTURES, "architecture")()
        )
        self.out_channels, self.stride, self.raster = units, 1, None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        features: Tensor = self.layers(x)
        return features
'''
WRITTEN = {  # a row of the table → the files that a contributor writes
    "a raw format": {"pipeline/formats/digit_lines.py": FORMAT},
    "an architecture": {},
    "a task": {
        "pipeline/tasks/grey_classification/__init__.py": "",
        "pipeline/tasks/grey_classification/network.py": NETWORK,
        "pipeline/tasks/grey_classification/task.py": TASK,
    },
    "a family": {"pipeline/models/pointwise/__init__.py": "", "pipeline/models/pointwise/encoder.py": FAMILY},
}
REGISTERED = {  # a row of the table → where the addition is registered, and the lines that do so, each after another
    "a raw format": (
        "pipeline/formats/__init__.py",
        {
            "from pipeline.formats.csv import": "from pipeline.formats.digit_lines import digit_lines",
            "FORMATS: dict[": '    "digit_lines": digit_lines,',
        },
    ),
    "an architecture": ("pipeline/models/cnn/encoder.py", {"    ARCHITECTURES: ": '        "stacked": VGGBlock,'}),
    "a task": (
        "pipeline/tasks/__init__.py",
        {"TASKS: dict[": '    "grey_classification": "grey_classification.task:GreyClassification",'},
    ),
    "a family": ("pipeline/models/__init__.py", {"FAMILIES: dict[": '    "pointwise": "pointwise.encoder:Pointwise",'}),
}  # fmt: skip


def rows_of_the_table() -> dict[str, tuple[str, str]]:
    """Returns {what is added: (what is written, where it is registered)} as CONTRIBUTING says it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (an? [^|]+) \| ([^|]+) \| ([^|]+) \|$", text, re.M)
    return {added: (written, registered) for added, written, registered in rows}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a copy of the code with one addition of every kind, and a params.yaml that uses all of them."""
    folder = tmp_path_factory.mktemp("contributor")
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for files in WRITTEN.values():
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            assert not (folder / name).exists()
            (folder / name).write_text(text, encoding="utf-8")
    for place, additions in REGISTERED.values():
        lines = (folder / place).read_text(encoding="utf-8").splitlines()
        for before, line in additions.items():
            (at,) = [number for number, present in enumerate(lines) if present.startswith(before)]
            lines.insert(at + 1, line)
        (folder / place).write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_params(folder)
    write_pictures(folder / "data/raw/lines/pictures.txt")
    return folder


def write_params(folder: Path) -> None:
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "tests" / "tiny.yaml")
    experiment = document["experiments"]["digits"]
    experiment["training"] |= {
        "trials": 1,
        "generation": 1,
        "trial_epochs": 2,
        "epochs": 2,
        "patience": 2,
        "repeats": 1,
    }
    experiment |= {"task": "grey_classification", "candidates": ["stacked", "points"]}
    parts = {"all": {"file": "pictures.txt"}}
    experiment["data"] = {"path": "data/raw/lines", "format": "digit_lines", "options": {"side": 4}, "parts": parts}
    fit = {"learning_rate": 0.01, "weight_decay": 0.0, "warmup": 0.1, "gradient_clip": 1.0, "ema_decay": 0.0}
    shared = {"experiment": "lines", "task": "grey_classification"}
    convolution = {"architecture": "stacked", "width": 16, "depth": 1, "kernel_size": 3, "dropout": 0.0}
    points = {"architecture": "tanh", "units": {"low": 4, "high": 8}}
    document["candidates"] = {
        "stacked": {**shared, "family": "cnn", "parameters": {**convolution, **fit, "brightness": 0.1}},
        "points": {**shared, "family": "pointwise", "parameters": {**points, **fit, "brightness": 0.1}},
    }
    document |= {"experiments": {"lines": experiment}, "downloads": {}, "workers": 1}
    YAML(pure=True).dump(document, folder / "params.yaml")


def write_pictures(path: Path) -> None:
    """Writes pictures of two classes, all different."""
    path.parent.mkdir(parents=True)
    lines = [f"{number:08d}{8 * (number % 2):d}{number:07d} {'odd' if number % 2 else 'even'}" for number in range(80)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("added", REGISTERED)
def test_the_table_names_the_places_of_every_addition(added: str) -> None:
    written, registered = rows_of_the_table()[added]
    place = REGISTERED[added][0]
    for name in WRITTEN[added]:
        assert f"`{'/'.join(name.split('/')[:2])}/`" in written
        assert name.endswith("__init__.py") or name.count("/") == 2 or f"`{Path(name).name}`" in written
    assert f"`{place}`" in registered
    (table,) = re.findall(r"`([A-Z]+)`", registered)
    assert any(table in line for line in REGISTERED[added][1])


def test_check_prepare_tune_and_train_work_with_one_addition_of_every_kind(copy: Path) -> None:
    words = [["check", "lines"], ["prepare", "lines"]]
    words += [[stage, name] for name in ("stacked", "points") for stage in ("tune", "train")]
    script = f"from pipeline.__main__ import main\nfor words in {words!r}:\n    assert main(words) == 0, words\n"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST"))}
    environment |= {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for candidate in ("stacked", "points"):
        assert (copy / f"models/lines/{candidate}/model.safetensors").stat().st_size > 100


def test_dvc_yaml_declares_the_code_of_every_addition_without_a_line_more(copy: Path) -> None:
    document = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
    params = load(copy / "params.yaml")
    own = {name for files in WRITTEN.values() for name in files if not name.endswith("__init__.py")}
    declared_files = set()
    for stage, name, item in pairs(params):
        files = code(declared(stage, name, item, document)["deps"], copy)
        closure = set(import_closure(*starts(stage, item, params), root=copy))
        assert files >= closure, f"{stage} {name} declares too little: {closure - files}"
        declared_files |= files
    assert declared_files >= own
