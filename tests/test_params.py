"""Types, ranges and names that do not agree: every mistake is named with its place, and all of them at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documents import MISSING, Document, changed
from pydantic import ValidationError

from pipeline.params import Params, ParamsError, Trainer, load, nearest, read_raw
from pipeline.problems import problems

DIGITS, CNN = "experiments/digits", "candidates/digits-cnn"


def test_the_params_of_the_tests_and_of_the_repository_are_sound(root: Path) -> None:
    for path in (root / "tests" / "tiny.yaml", root / "params.yaml"):
        assert problems(read_raw(path), Params) == []
    params = load(root / "tests" / "tiny.yaml")
    assert params.experiments["digits"].split.validation == 0.2
    assert params.candidates["co2-rnn"].parameters["hidden"] == 8


def test_parameters_cannot_be_changed_after_loading(root: Path) -> None:
    params = load(root / "tests" / "tiny.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        params.seed = 1


BAD = [
    # keys that nobody reads, at every level, with the name that was probably meant
    ("sede", 1, "sede: unknown key; allowed: seed, threads, .*; did you mean `seed`?"),
    ("tracking/url", "x", "tracking.url: unknown key; allowed: uri, artifacts; did you mean `uri`?"),
    ("gate/magin", 0, "gate.magin: unknown key; allowed: resamples, .*, limits; did you mean `margin`?"),
    ("downloads/digits/digits.csv.gz/sha", "x", "downloads.digits.digits.csv.gz.sha: unknown key; .*`sha256`?"),
    (f"{DIGITS}/tusk", "x", "experiments.digits.tusk: unknown key; .*; did you mean `task`?"),
    (f"{DIGITS}/data/fromat", "x", "experiments.digits.data.fromat: unknown key; .*; did you mean `format`?"),
    (f"{DIGITS}/split/tets", 0.1, "experiments.digits.split.tets: .*; did you mean `test`?"),
    (f"{DIGITS}/training/epcohs", 1, "experiments.digits.training.epcohs: .*; did you mean `epochs`?"),
    (f"{DIGITS}/training/pruning/quantle", 1, "experiments.digits.training.pruning.quantle: .*`quantile`?"),
    (f"{CNN}/famly", "cnn", "candidates.digits-cnn.famly: unknown key; .*; did you mean `family`?"),
    (
        f"{CNN}/parameters/width",
        {"low": 16, "high": 32, "lg": True},
        r"candidates.digits-cnn.parameters.width.lg: unk.*",
    ),
    # missing keys
    ("seed", MISSING, "seed: missing; add it"),
    ("trainer/strategy", MISSING, "trainer.strategy: missing; add it"),
    (f"{DIGITS}/training/repeats", MISSING, "experiments.digits.training.repeats: missing; add it"),
    (f"{CNN}/family", MISSING, "candidates.digits-cnn.family: missing; add it"),
    (f"{CNN}/parameters/width", {"low": 16}, "candidates.digits-cnn.parameters.width.high: missing; add it"),
    # wrong types
    ("seed", "a", "seed: found 'a'; allowed: a whole number"),
    ("seed", True, "seed: found True; allowed: a whole number"),
    ("workers", 1.5, "workers: found 1.5; allowed: a whole number"),
    ("evaluation", None, r"evaluation: found null; allowed: a mapping \(key: value\)"),
    ("gate", [], r"gate: found \[\]; allowed: a mapping \(key: value\)"),
    ("downloads", None, r"downloads: found null; allowed: a mapping \(key: value\)"),
    ("experiments", None, r"experiments: found null; allowed: a mapping \(key: value\)"),
    (f"{DIGITS}/task", [], r"experiments.digits.task: found \[\]; allowed: a valid string"),
    (
        f"{DIGITS}/training/batch_size",
        2.0,
        "experiments.digits.training.batch_size: found 2.0; allowed: a whole number",
    ),
    (f"{CNN}/experiment", [], r"candidates.digits-cnn.experiment: found \[\]; allowed: a valid string"),
    (f"{CNN}/parameters/width", [16], r"candidates.digits-cnn.parameters.width: found \[16\]; allowed: a value, .*"),
    (f"{CNN}/parameters/width", None, r"candidates.digits-cnn.parameters.width: found null; allowed: a value, \{ch.*"),
    # wrong ranges
    ("seed", -1, "seed: found -1; allowed: greater than or equal to 0"),
    ("threads", 0, "threads: found 0; allowed: greater than or equal to 1"),
    ("evaluation/resamples", 10, "evaluation.resamples: found 10; allowed: greater than or equal to 100"),
    ("evaluation/confidence", 1.0, "evaluation.confidence: found 1.0; allowed: less than 1"),
    ("gate/margin", -0.1, "gate.margin: found -0.1; allowed: greater than or equal to 0"),
    ("downloads/digits", {}, r"downloads.digits: found \{\}; allowed: at least 1 entry"),
    (
        f"{DIGITS}/training/epochs",
        0,
        "experiments.digits.training.epochs: found 0; allowed: greater than or equal to 1",
    ),
    (f"{DIGITS}/training/pruning/quantile", 1.0, "experiments.digits.training.pruning.quantile: found 1.0; .* 1"),
    # the trainer
    ("trainer/devises", 2, "trainer.devises: unknown key; .*; did you mean `devices`?"),
    ("trainer/devices", 0, "trainer.devices: found 0; allowed: a number from 1, auto or -1 for all, or a list .*"),
    ("trainer/devices", [0, 0], r"trainer.devices: found \[0, 0\]; allowed: .*"),
    ("trainer/devices", "two", "trainer.devices: found 'two'; allowed: .*"),
    ("trainer/accelerator", "cpux", "trainer.accelerator: found 'cpux'; allowed: auto, cpu, .*; did you mean `cpu`?"),
    ("trainer/precision", "bf16-mixt", "trainer.precision: found 'bf16-mixt'; .*; did you mean `bf16-mixed`?"),
    # downloads
    ("downloads/digits/digits.csv.gz/url", "ftp://x", r"downloads.digits.digits.csv.gz.url: found 'ftp://x'; .*"),
    ("downloads/digits/digits.csv.gz/sha256", "12", r"downloads.digits.digits.csv.gz.sha256: found '12'; allowed: .*"),
    ("downloads/digits/digits.csv.gz/sha256", MISSING, "downloads.digits.digits.csv.gz.sha256: missing; add it, or .*"),
    ("downloads/digits/digits.csv.gz/contents", "0" * 64, ".*.csv.gz.contents: found beside sha256; keep one .*"),
    ("downloads/digits/digits.csv.gz/folder", "a", ".*.csv.gz.folder: found 'a'; allowed: with `unpack: true` only"),
    ("downloads/digits/digits.csv.gz/only", ["*.gz"], r".*.csv.gz.only: found .*; allowed: .* with `folder` only"),
    ("downloads/digits/digits.csv.gz/folder", "a/b", ".*.csv.gz.folder: found 'a/b'; allowed: .*"),
    # parts and splits
    (f"{DIGITS}/data/parts/trian", {}, "experiments.digits.data.parts.trian: found 'trian'; .*; did you mean `train`?"),
    (f"{DIGITS}/data/parts", {}, "experiments.digits.data.parts: found none; allowed: `all`, or `train` .*"),
    (f"{DIGITS}/data/parts/test", {}, "experiments.digits.data.parts: found all, test; allowed: `all` alone, .*"),
    (
        f"{DIGITS}/data/parts",
        {"train": {"file": "a"}, "test": {"file": "b"}},
        "experiments.digits.split.test: found 0.2, but this part is published and is never split again; use null",
    ),
    (f"{DIGITS}/split/test", None, "experiments.digits.split.test: found null, but data.parts has no part `test`; .*"),
    (f"{DIGITS}/split/test", 0.9, "experiments.digits.split: found shares of 0.2 and 0.9, which leave nothing .*"),
    # searched parameters
    (
        f"{CNN}/parameters/width",
        {"low": 32, "high": 16},
        "candidates.digits-cnn.parameters.width: low must be below .*",
    ),
    (f"{CNN}/parameters/width", {"low": 16, "high": 16}, ".*.width: low must be below high; found 16 and 16"),
    (f"{CNN}/parameters/dropout", {"low": 0.0, "high": 0.2, "log": True}, ".*: a logarithmic range starts above 0; .*"),
    (f"{CNN}/parameters/width", {"choices": []}, r".*.width.choices: found \[\]; allowed: at least 1 entry"),
    # what stands twice
    (
        f"{CNN}/task",
        "forecasting",
        "candidates.digits-cnn.task: found 'forecasting'; allowed: image_classification, .*",
    ),
    (
        f"{DIGITS}/candidates",
        ["digits-cnn"],
        "experiments.digits.candidates: candidate `digits-rnn` is missing; add it, or remove candidates.digits-rnn",
    ),
    (
        f"{DIGITS}/candidates",
        ["digits-cnn", "digits-rnn", "digits-rn"],
        "experiments.digits.candidates: found 'digits-rn'; .*; did you mean `digits-rnn`?",
    ),
    (
        f"{DIGITS}/candidates",
        ["digits-cnn", "digits-rnn", "co2-cnn"],
        "experiments.digits.candidates: found 'co2-cnn', but candidates.co2-cnn.experiment is 'co2'",
    ),
    (
        f"{DIGITS}/candidates",
        ["digits-cnn", "digits-cnn", "digits-rnn"],
        "experiments.digits.candidates: found 'digits-cnn' 2 times; allowed: once",
    ),
]


@pytest.mark.parametrize(("place", "value", "line"), BAD, ids=[f"{place}={value}"[:60] for place, value, _ in BAD])
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(
    place: str, value: Any, line: str, tiny: Document
) -> None:
    found = problems(changed(tiny, place, value), Params)
    assert len(found) == 1 or place.endswith(("/task", "/experiment")), found
    assert re.fullmatch(line.replace("?", r"\?"), found[0]), found[0]


def test_a_candidate_of_an_unknown_experiment_gets_the_nearest_name(tiny: Document) -> None:
    tiny["candidates"]["digits-cnn"]["experiment"] = "digit"
    assert problems(tiny, Params) == [
        f"candidates.digits-cnn.experiment: found 'digit'; allowed: {', '.join(tiny['experiments'])}; "
        "did you mean `digits`?",
        "experiments.digits.candidates: found 'digits-cnn', but candidates.digits-cnn.experiment is 'digit'",
    ]


@pytest.mark.parametrize(
    ("devices", "nodes", "processes"), [(3, 1, 3), ([0, 2, 5], 1, 3), (3, 2, 6), (1, 5, 5), ([0], 7, 7)]
)
def test_a_batch_that_the_processes_cannot_share_is_refused(
    devices: Any, nodes: int, processes: int, tiny: Document
) -> None:
    tiny["trainer"] |= {"devices": devices, "num_nodes": nodes}
    digits, co2, *_ = problems(tiny, Params)
    above = (32 // processes + 1) * processes
    assert digits == (
        f"experiments.digits.training.batch_size: found 32, which {processes} processes (trainer.devices × num_nodes) "
        f"cannot share evenly; allowed: a multiple of {processes}, such as {above}"
    )
    assert co2.startswith("experiments.co2.training.batch_size: found 32")


@pytest.mark.parametrize(("devices", "nodes"), [(1, 1), (2, 1), ([1, 3], 2), (4, 2), ("auto", 3), (-1, 1)])
def test_a_batch_that_the_processes_can_share_is_accepted(devices: Any, nodes: int, tiny: Document) -> None:
    tiny["trainer"] |= {"devices": devices, "num_nodes": nodes}
    assert problems(tiny, Params) == []


@pytest.mark.parametrize(
    ("changes", "distributed"),
    [({}, False), ({"devices": 2}, True), ({"num_nodes": 2}, True), ({"strategy": "ddp"}, True)],
)
def test_a_training_over_several_devices_is_recognised(changes: Document, distributed: bool, tiny: Document) -> None:
    assert Trainer(**tiny["trainer"] | changes).distributed is distributed


def test_all_problems_are_reported_at_once(tiny: Document, tmp_path: Path, save: Callable[..., Path]) -> None:
    tiny["seed"] = -1
    tiny["gate"]["magin"] = 0
    tiny["experiments"]["digits"]["training"]["epochs"] = "many"
    tiny["candidates"]["co2-rnn"]["experiment"] = "co"
    tiny["experiments"]["co2"]["training"]["batch_size"] = 33
    tiny["trainer"]["devices"] = 2
    with pytest.raises(ParamsError) as caught:
        load(save(tiny, tmp_path))
    first, *lines = str(caught.value).split("\n")
    assert first == f"{tmp_path / 'params.yaml'} has 6 problems:"
    assert [line.strip().split(": ")[0] for line in lines] == [
        "seed",
        "gate.magin",
        "experiments.digits.training.epochs",
        "candidates.co2-rnn.experiment",
        "experiments.co2.candidates",
        "experiments.co2.training.batch_size",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [1", "is not valid YAML"),
        ("seed: 1\nseed: 2\n", "is not valid YAML"),
        ("- a\n- b\n", "found list; expected a mapping with the keys seed, threads"),
        ("", "found NoneType; expected a mapping with the keys seed"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_in_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        load(path)


def test_a_file_that_is_missing_or_no_text_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(ParamsError, match="is missing here; run the command in the root of the repository"):
        load(path)
    path.write_bytes(b"seed: \xff\xfe")
    with pytest.raises(ParamsError, match="is not valid YAML"):
        load(path)


def test_the_nearest_name_is_offered_only_where_one_is_near() -> None:
    assert nearest("resnt", ["vgg", "resnet"]) == "allowed: vgg, resnet; did you mean `resnet`?"
    assert nearest("zzz", ["vgg", "resnet"]) == "allowed: vgg, resnet"
    assert nearest("zzz", []) == "allowed: none"
