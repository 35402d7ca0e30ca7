"""`python -m pipeline check` and every stage: names, types and ranges against what the code offers."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documents import MISSING, Document, changed

from pipeline.check import OWN, check, usable
from pipeline.params import ParamsError, load
from pipeline.training.facts import on_all_devices, on_one_device

DIGITS, CO2, CNN, RNN = "experiments/digits", "experiments/co2", "candidates/digits-cnn", "candidates/co2-rnn"


def test_params_of_the_tests_and_of_the_repository_pass(root: Path) -> None:
    for path in (root / "tests" / "tiny.yaml", root / "params.yaml"):
        check(path)  # raises if anything is wrong
        assert set(load(path).experiments) >= {"digits", "co2"}


BAD = [
    (
        "trainer/options/deterministick",
        True,
        "trainer.options.deterministick: unknown key; .*mean `deterministic`?",
    ),
    ("trainer/options/devices", 2, "trainer.options.devices: unknown key; .*"),
    ("trainer/options/max_epochs", 5, "trainer.options.max_epochs: unknown key; .*"),
    ("trainer/strategy", "dpp", "trainer.strategy: found 'dpp'; allowed: auto, .*; did you mean `ddp`?"),
    ("study/storage", "redis://host/0", "study.storage: found an address that begins with redis://; .*"),
    ("study/storage", "redis://:geheim@host/0", "study.storage: found a password; .*PIPELINE_STUDY_STORAGE"),
    # task and format
    (f"{DIGITS}/data/format", "pixel_tabel", ".*.data.format: found 'pixel_tabel'; .*; did you mean `pixel_table`?"),
    (f"{DIGITS}/data/options/heigth", 8, ".*.data.options.heigth: unknown key; .*; did you mean `height`?"),
    (
        f"{DIGITS}/data/options/height",
        MISSING,
        ".*.parts.all.height: missing; format `pixel_table` needs it here or .*",
    ),
    (f"{DIGITS}/data/options/height", "8", ".*.data.options.height: found '8'; allowed: a whole number"),
    (f"{DIGITS}/data/options/maximum", 15.5, ".*.data.options.maximum: found 15.5; allowed: a whole number"),
    (f"{DIGITS}/data/parts/all/fiel", "x", ".*.data.parts.all.fiel: unknown key; .*; did you mean `file`?"),
    (f"{DIGITS}/data/parts/all/file", MISSING, ".*.data.parts.all.file: missing; format `pixel_table` needs it .*"),
    (f"{DIGITS}/data/parts/all/file", 3, ".*.data.parts.all.file: found 3; allowed: a valid string"),
    (f"{CO2}/data/options/columns", "co2", ".*.data.options.columns: found 'co2'; allowed: a valid list"),
    # settings
    (f"{DIGITS}/settings/horizon", 3, "experiments.digits.settings.horizon: unknown key; allowed: none"),
    (f"{CO2}/settings/horizont", 3, "experiments.co2.settings.horizont: unknown key; .*; did you mean `horizon`?"),
    (f"{CO2}/settings/season", MISSING, "experiments.co2.settings.season: missing; add it"),
    (
        f"{CO2}/settings/horizon",
        0,
        "experiments.co2.settings.horizon: found 0; allowed: a whole number from 1 to 1000000",
    ),
    (f"{CO2}/settings/horizon", True, "experiments.co2.settings.horizon: found True; allowed: a whole number .*"),
    (
        f"{CO2}/settings/missing",
        "seasnal",
        "experiments.co2.settings.missing: found 'seasnal'; allowed: last, seasonal",
    ),
    (f"{CO2}/settings/interval", "wide", "experiments.co2.settings.interval: found 'wide'; allowed: between 0 and 1.*"),
    (
        f"{CO2}/settings/season",
        60,
        "experiments.co2.settings.lookback: found 60; allowed: more than settings.season .*",
    ),
    # family, architecture and parameters
    (f"{CNN}/family", "cn", "candidates.digits-cnn.family: found 'cn'; allowed: cnn, rnn; did you mean `cnn`?"),
    (f"{CNN}/parameters/widht", 16, ".*.parameters.widht: unknown key; .*; did you mean `width`?"),
    (f"{CNN}/parameters/width", MISSING, "candidates.digits-cnn.parameters.width: missing; add it"),
    (f"{CNN}/parameters/width", 8, "candidates.digits-cnn.parameters.width: found 8; allowed: 16 to 2048"),
    (f"{CNN}/parameters/width", {"choices": [16, 8]}, ".*.parameters.width: found 8; allowed: 16 to 2048"),
    (f"{CNN}/parameters/width", {"low": 8, "high": 32}, ".*.parameters.width: found 8; allowed: 16 to 2048"),
    (f"{CNN}/parameters/width", 16.5, ".*.parameters.width: found 16.5; allowed: a whole number"),
    (
        f"{CNN}/parameters/width",
        {"low": 16, "high": 32.5},
        ".*.parameters.width: found 32.5; allowed: a whole number",
    ),
    (f"{CNN}/parameters/width", True, ".*.parameters.width: found True; allowed: a whole number"),
    (f"{CNN}/parameters/architecture", "resnt", ".*.architecture: found 'resnt'; .*; did you mean `resnet`?"),
    (f"{CNN}/parameters/architecture", {"choices": ["vgg", "gru"]}, ".*.architecture: found 'gru'; allowed: vgg, .*"),
    (f"{CNN}/parameters/architecture", 5, ".*.architecture: found 5; allowed: a valid string"),
    (f"{CNN}/parameters/architecture", ["vgg"], r".*.architecture: found \['vgg'\]; allowed: a value, .*"),
    (f"{CNN}/parameters/flip", "yes", ".*.flip: found 'yes'; allowed: a valid boolean"),
    (f"{CNN}/parameters/shift", -1, ".*.shift: found -1; allowed: 0 to 1024"),
    (f"{CNN}/parameters/label_smoothing", 1.0, ".*.label_smoothing: found 1.0; allowed: 0.0 to 0.9"),
    (f"{CNN}/parameters/learning_rate", "fast", ".*.learning_rate: found 'fast'; allowed: a valid number"),
    (f"{CNN}/parameters/learning_rate", -0.1, ".*.learning_rate: found -0.1; allowed: 0 or more"),
    (f"{CNN}/parameters/warmup", 1.0, ".*.warmup: found 1.0; allowed: 0 up to, but not including, 1"),
    (f"{CNN}/parameters/ema_decay", {"choices": [0.5, 1.5]}, ".*.ema_decay: found 1.5; allowed: 0 up to, .*"),
    (f"{RNN}/parameters/reference", "lst", ".*.reference: found 'lst'; allowed: last, seasonal; did you mean `last`?"),
    (f"{RNN}/parameters/forget_bias", 11, ".*.forget_bias: found 11; allowed: -10.0 to 10.0"),
]


@pytest.mark.parametrize(("place", "value", "line"), BAD, ids=[f"{place}={value}"[:60] for place, value, _ in BAD])
def test_a_name_or_value_that_the_code_does_not_offer_is_refused(
    place: str, value: Any, line: str, tiny: Document, tmp_path: Path, save: Callable[..., Path]
) -> None:
    with pytest.raises(ParamsError) as caught:
        check(save(changed(tiny, place, value), tmp_path))
    first, *lines = str(caught.value).split("\n")
    assert len(lines) == 1, lines
    assert first.endswith("params.yaml has 1 problem:")
    assert re.fullmatch(line.replace("?", r"\?"), lines[0].strip()), lines[0]


def test_an_unknown_task_gets_the_nearest_name(tiny: Document, tmp_path: Path, save: Callable[..., Path]) -> None:
    tiny["experiments"]["co2"]["task"] = "forcasting"
    with pytest.raises(ParamsError, match=r"experiments\.co2\.task: found 'forcasting'; .* mean `forecasting`"):
        check(save(tiny, tmp_path))


def test_problems_of_all_kinds_are_reported_at_once(tiny: Document, tmp_path: Path, save: Callable[..., Path]) -> None:
    tiny["seed"] = "x"
    tiny["experiments"]["digits"]["data"]["format"] = "idz"
    tiny["experiments"]["co2"]["settings"]["missing"] = "no"
    tiny["candidates"]["digits-cnn"]["parameters"]["widht"] = 3
    tiny["candidates"]["co2-rnn"]["family"] = "rn"
    with pytest.raises(ParamsError) as caught:
        check(save(tiny, tmp_path))
    assert [line.strip().split(": ")[0] for line in str(caught.value).split("\n")[1:]] == [
        "seed",
        "experiments.digits.data.format",
        "experiments.co2.settings.missing",
        "candidates.digits-cnn.parameters.widht",
        "candidates.co2-rnn.family",
    ]


def test_further_arguments_of_the_trainer_are_allowed(
    tiny: Document, tmp_path: Path, save: Callable[..., Path]
) -> None:
    tiny["trainer"] |= {"strategy": "ddp", "options": {"deterministic": True, "sync_batchnorm": True}}
    path = save(tiny, tmp_path)
    check(path)  # raises if anything is wrong
    trainer = load(path).trainer
    assert on_all_devices(trainer) == {
        "accelerator": "cpu", "precision": "32-true", "devices": 1, "num_nodes": 1, "strategy": "ddp",
        "deterministic": True, "sync_batchnorm": True,
    }  # fmt: skip
    assert on_one_device(trainer) == on_all_devices(trainer) | {"strategy": "auto"}


def test_arguments_that_the_pipeline_gives_to_the_trainer_itself_are_refused_in_params() -> None:
    from pytorch_lightning import Trainer

    from pipeline.training import fit

    source = inspect.getsource(fit.build_trainer)
    given = [name for name in inspect.signature(Trainer).parameters if f"        {name}=" in source]
    assert "callbacks" in given and "max_epochs" in given
    assert set(given) <= set(OWN)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_stage_stops_before_it_touches_anything(
    tiny: Document, tmp_path: Path, save: Callable[..., Path], call: Any
) -> None:
    changed(tiny, f"{CNN}/experiment", "digit")
    changed(tiny, f"{CNN}/parameters/architecture", "resnt")
    changed(tiny, f"{DIGITS}/training/batch_size", "big")
    changed(tiny, f"{RNN}/parameters/hidden", MISSING)
    save(tiny, tmp_path)
    for file in ("search/digits/digits-cnn/best.json", "models/digits/digits-cnn/model.json", "mlflow.db"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("from before", encoding="utf-8")
    before = contents(tmp_path)
    for arguments in (["check"], ["tune", "digits-cnn"]):
        done = call(tmp_path, *arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith(f"{arguments[0]}: params.yaml has ")
        names = ", ".join(tiny["experiments"])
        assert (
            f"candidates.digits-cnn.experiment: found 'digit'; allowed: {names}; did you mean `digits`?" in done.stderr
        )
        assert "experiments.digits.training.batch_size: found 'big'; allowed: a whole number" in done.stderr
        assert ("candidates.co2-rnn.parameters.hidden: missing" in done.stderr) == (arguments == ["check"])
        assert "Traceback" not in done.stderr
    assert contents(tmp_path) == before


def test_a_sound_file_is_said_to_be_sound(tiny: Document, tmp_path: Path, save: Callable[..., Path], call: Any) -> None:
    save(tiny, tmp_path)
    done, count = call(tmp_path, "check"), len(tiny["experiments"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"check: params.yaml is sound: {count} experiments, {2 * count} candidates\n"


def test_settings_that_the_task_checks_are_those_that_the_data_room_knows() -> None:
    from pipeline.tasks.forecasting.preparation import RULES
    from pipeline.tasks.forecasting.task import MISSING_RULES

    assert set(MISSING_RULES) == set(RULES)


@pytest.mark.parametrize("name, kind", [("svc", "baseline"), ("SVC", "baseline"), ("most_common_class", "guess")])
def test_a_candidate_that_is_called_like_a_baseline_or_guess_of_its_task_is_refused(
    name: str, kind: str, tiny: Document, tmp_path: Path, save: Callable[..., Path]
) -> None:
    tiny["candidates"][name] = tiny["candidates"].pop("digits-cnn")
    tiny["experiments"]["digits"]["candidates"] = [name, "digits-rnn"]
    message = rf"candidates\.{name}: {name} is the name of a {kind} of image_classification, .*; rename the candidate"
    with pytest.raises(ParamsError, match=message):
        check(save(tiny, tmp_path))


def test_the_name_of_another_tasks_baseline_is_free(tiny: Document, tmp_path: Path, save: Callable[..., Path]) -> None:
    tiny["candidates"]["svc"] = tiny["candidates"].pop("co2-cnn")
    tiny["experiments"]["co2"]["candidates"] = ["svc", "co2-rnn"]
    path = save(tiny, tmp_path)
    check(path)
    assert load(path).experiments["co2"].candidates == ["svc", "co2-rnn"]


def test_baselines_of_every_task_are_named() -> None:
    from pipeline.tasks import TASKS
    from pipeline.tasks.baselines import BASELINES

    assert set(BASELINES) == set(TASKS)
    assert all(name == name.casefold() for names in BASELINES.values() for name in names)


def faulty(tiny: Document) -> Document:
    """Faults of every kind in the experiment co2 and in a candidate of waves."""
    changed(tiny, f"{CO2}/training/batch_size", "big")
    changed(tiny, f"{CO2}/data", 5)
    changed(tiny, "downloads/co2/co2.csv/sha256", "short")
    changed(tiny, "candidates/waves-cnn/parameters/width", 8)
    return tiny


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("fetch", "digits"), ("prepare", "digits"), ("tune", "digits-cnn"), ("train", "digits-rnn"),
        ("evaluate", "digits"), ("register", "digits"), ("check", "digits"), ("reproduce", "digits@3"),
        ("register", None), ("report", None),
    ],
)  # fmt: skip
def test_faults_of_other_experiments_are_a_warning(
    stage: str, name: str | None, tiny: Document, tmp_path: Path, save: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    everything = set(tiny["experiments"])
    path = save(faulty(tiny), tmp_path)
    params = usable(stage, name, path)
    assert set(params.experiments) == everything - {"co2", "waves"}
    assert {entry.experiment for entry in params.candidates.values()} == set(params.experiments)
    assert list(params.downloads) == ["digits"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        f"{path} has 4 problems in co2, waves, which this command leaves out; `python -m pipeline check` names them"
    )


@pytest.mark.parametrize(
    ("stage", "name", "lines"),
    [
        ("prepare", "co2", ["experiments.co2.data", "experiments.co2.training.batch_size"]),
        ("train", "co2-cnn", ["experiments.co2.data", "experiments.co2.training.batch_size"]),
        ("fetch", "co2", ["downloads.co2.co2.csv.sha256"]),
        ("tune", "waves-cnn", ["candidates.waves-cnn.parameters.width"]),
        ("tune", "waves-rnn", ["candidates.waves-cnn.parameters.width"]),
        ("evaluate", "waves", ["candidates.waves-cnn.parameters.width"]),
    ],
)
def test_faults_of_the_experiment_at_hand_stop_its_stages(
    stage: str, name: str, lines: list[str], tiny: Document, tmp_path: Path, save: Callable[..., Path]
) -> None:
    with pytest.raises(ParamsError) as caught:
        usable(stage, name, save(faulty(tiny), tmp_path))
    assert sorted(line.strip().split(": ")[0] for line in str(caught.value).split("\n")[1:]) == lines


@pytest.mark.parametrize(
    ("place", "value"), [("seed", "x"), ("trainer/devices", 0), ("trainer/strategy", "dpp"), ("candidates", 5)]
)
def test_faults_that_concern_all_stop_every_stage(
    place: str, value: Any, tiny: Document, tmp_path: Path, save: Callable[..., Path]
) -> None:
    path = save(changed(tiny, place, value), tmp_path)
    for stage, name in (("prepare", "digits"), ("register", None), ("tune", "co2-cnn")):
        with pytest.raises(ParamsError, match=place.replace("/", r"\.")):
            usable(stage, name, path)


def test_where_every_experiment_is_faulty_nothing_runs(
    tiny: Document, tmp_path: Path, save: Callable[..., Path]
) -> None:
    for experiment in tiny["experiments"].values():
        experiment["description"] = None
    with pytest.raises(ParamsError, match=f"{len(tiny['experiments'])} problems"):
        usable("register", None, save(tiny, tmp_path))


def test_commands_that_look_at_all_stop_at_any_fault(tiny: Document, tmp_path: Path, save: Callable[..., Path]) -> None:
    path = save(faulty(tiny), tmp_path)
    for stage in ("audit", "retrain", "results"):
        with pytest.raises(ParamsError, match=r"experiments\.co2\.data"):
            usable(stage, None, path)
