"""Advice: each sentence with the row that backs it, and silence where nothing was decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.commands import advise
from pipeline.differences.advice import advice, dependence, largest_field
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED
from pipeline.params import load

TINY = load(Path(__file__).parents[1] / "tiny.yaml")


def result(verdict: str, **effects: str) -> dict[str, Any]:
    """A measured difference; effects by their own verdicts."""
    named = effects or {"main": verdict}
    described = {
        name: {
            "statistic": f"what {name} is",
            "unit": "share",
            "value": 0.2,
            "interval_995": [0.1, 0.3],
            "verdict": own,
        }
        for name, own in named.items()
    }
    return {"verdict": verdict, "effects": described, "order": list(named)}


def said_of(experiment: str, card: dict[str, Any], train: dict[str, torch.Tensor], **results: Any) -> list[str]:
    entry = TINY.experiments[experiment]
    candidates = {name: TINY.candidates[name] for name in entry.candidates}
    found = advice(entry, candidates, {"task": entry.task, **card}, train, results)
    assert all(f"{one.row.partition(':')[0]}" in results and "99.5 %: +0.10 to +0.30" in one.row for one in found)
    return [one.sentence for one in found]


SERIES = {"shape": "sequence", "lookback": 40}
NOISE = {"values": torch.randn(600, 1, generator=torch.Generator().manual_seed(0))}
MEMORY = {"values": NOISE["values"] + torch.sin(torch.arange(600)[:, None] / 3)}


def test_nothing_is_said_where_nothing_was_decided() -> None:
    names = ("uses", "temporal_dependency", "parallelism", "variants", "data_types")
    undecided = {name: result(NOT_DECIDED) for name in names}
    assert said_of("co2", SERIES, MEMORY, **undecided) == [] == said_of("co2", SERIES, MEMORY)
    open_use = {"uses": result(HOLDS, forecasting=NOT_DECIDED)}
    assert said_of("co2", SERIES, MEMORY, **open_use) == []


def test_a_receptive_field_is_held_against_the_dependence_of_the_data() -> None:
    depends = {"temporal_dependency": result("depends on the receptive field")}
    seen = largest_field(TINY.candidates["co2-cnn"])
    assert seen is not None
    (wide,) = said_of("co2", SERIES, NOISE, **depends)
    assert wide.startswith("The receptive field of co2-cnn is wide enough") and f"at most {seen} steps" in wide
    far = np.zeros((900, 1))
    draw = np.random.default_rng(0)
    for step in range(900):
        far[step] = (0.9 * far[step - 30] if step >= 30 else 0) + draw.normal()
    (narrow,) = said_of("co2", SERIES, {"values": torch.tensor(far)}, **depends)
    assert ("Give co2-cnn more depth" in narrow) == (seen < 30) and "up to lag 30" in narrow
    short = said_of("co2", {**SERIES, "lookback": 20}, {"values": torch.tensor(far)}, **depends)
    assert short[-1].startswith("Raise settings.lookback: it is 20, and ")
    (recurrent,) = said_of("co2", SERIES, MEMORY, temporal_dependency=result(HOLDS))
    assert recurrent.startswith("Prefer a recurrent network")


def test_dependence_is_known_by_correlation_or_by_lengths() -> None:
    draw = np.random.default_rng(1)
    values = np.zeros(2000)
    for step in range(2, 2000):
        values[step] = 0.5 * values[step - 1] - 0.4 * values[step - 2] + draw.normal()
    found = dependence({"task": "forecasting", "lookback": 20}, {"values": torch.tensor(values)[:, None]})
    assert found.steps == 2, "an autoregression of the second order"
    lengths = {"lengths": torch.arange(1, 101)}
    assert dependence({"task": "speech_recognition"}, lengths).steps == 95


def test_uses_costs_starts_and_grids_are_said_where_they_are_decided() -> None:
    (use,) = said_of("co2", SERIES, MEMORY, uses=result(NOT_DECIDED.replace("not", "was"), forecasting=DOES_NOT_HOLD))
    assert use == "Expect the convolutional family ahead on forecasting.", "textbooks name the other one"
    (use,) = said_of("co2", SERIES, MEMORY, uses=result(NOT_DECIDED, forecasting=HOLDS))
    assert use == "Expect the recurrent family ahead on forecasting.", "decided on its own, whatever all uses say"
    (cost,) = said_of("co2", SERIES, MEMORY, parallelism=result(HOLDS))
    assert "up to 40 steps one after another" in cost
    assert said_of("digits", {"shape": "grid"}, {}, data_types=result(HOLDS)) == [
        "Convolutions gain more from the neighbourhood of pixels."
    ]
    assert said_of("co2", SERIES, MEMORY, variants=result("depends on the initialisation")) == [], "its bias is 1"


def test_a_forget_bias_below_one_is_advised_against_where_the_initialisation_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    low = TINY.candidates["co2-rnn"].model_copy(deep=True)
    low.parameters["forget_bias"] = 0.5
    monkeypatch.setitem(TINY.candidates, "co2-rnn", low)
    depends = {"variants": result("depends on the initialisation")}
    assert said_of("co2", SERIES, MEMORY, **depends) == ["Set `forget_bias` of co2-rnn to 1 or more, found 0.5."]
    assert said_of("co2", SERIES, MEMORY, variants=result(HOLDS)) == [], "the verdict is another"


def test_the_command_prints_rows_and_names_what_is_missing(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"holds no result; `make differences` measures them"):
        advise.main("co2", TINY)
    (tmp_path / "data").symlink_to(prepared / "data")
    folder = tmp_path / "differences/results"
    folder.mkdir(parents=True)
    (folder / "parallelism.json").write_text(json.dumps(result(HOLDS)), encoding="utf-8")
    advise.main("co2", TINY)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("    parallelism: holds; what main is: +0.20 (99.5 %: +0.10 to +0.30 share)")
    assert lines[2].startswith("advise: not measured here: connectivity, data_types, ")
    with pytest.raises(ValueError, match=r"experiment: found co; .*did you mean `co2`"):
        advise.main("co", TINY)
