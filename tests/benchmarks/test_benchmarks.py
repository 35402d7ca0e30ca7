"""The benchmarks: that they run, that both sides do the same work, and that the table says what was measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import gate, plain_loop
from benchmarks.clothes import load_clothes
from benchmarks.loop import PARAMETERS
from benchmarks.table import Figure, lines, ratio
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network


def test_plain_network_is_the_network_of_the_pipeline() -> None:
    data = load_clothes(train=64, validation=32)
    ours = build_network(load_task("image_classification", {}), "cnn", data.card, PARAMETERS)
    plain = plain_loop.resnet(PARAMETERS["width"], PARAMETERS["depth"], classes=10)
    weights = [value for name, value in ours.state_dict().items() if name not in ("mean", "deviation")]
    names = list(plain.state_dict())
    assert [value.shape for value in plain.state_dict().values()] == [value.shape for value in weights]
    plain.load_state_dict(dict(zip(names, weights, strict=True)))
    images = data.validation["images"]
    normalised = (images.float() / 255 - data.card["mean"][0]) / data.card["deviation"][0]
    with torch.inference_mode():
        assert torch.allclose(ours.eval()(images), plain.eval()(normalised), atol=1e-4)
    assert sum(weight.numel() for weight in plain.parameters()) == 77_754


def test_pictures_are_the_same_in_every_process_and_cover_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.clothes._folder", lambda: None)
    one, two = load_clothes(train=200, validation=50), load_clothes(train=200, validation=50)
    assert not one.real and one.train["images"].shape == (200, 1, 28, 28)
    assert torch.equal(one.train["images"], two.train["images"])
    assert one.train["labels"].bincount().tolist() == [20] * 10


def test_ratio_compares_what_was_measured_side_by_side() -> None:
    assert ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == 2.0


def test_table_says_which_bars_were_missed() -> None:
    shown = lines([Figure("quick", 2.4, "≥ 2"), Figure("slow", 0.8, "≤ 0.75"), Figure("accuracy", "0.9 and 0.9")])
    assert [line.split()[-1] for line in shown[1:]] == ["holds", "MISSED", "0.9"]


def test_unknown_row_is_named_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["lop"])
    assert "found lop; allowed: loop, safety, search" in capsys.readouterr().err


def test_safety_measures_with_checkpoints_and_without(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["safety", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("a checkpoint in 4 steps") == 2 and "≤ 3" in printed


def test_loop_measures_all_three(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["loop", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "ours ÷ bare PyTorch" in printed and "ours ÷ plain Lightning" in printed and "torch 2." in printed


def test_gate_is_simulated_alike_every_time() -> None:
    one, two = gate.measure(quick=True), gate.measure(quick=True)
    assert one[:-1] == two[:-1], "only the seconds of the last line differ"
    kinds = {figure.name.split(",")[0] for figure in one if "equal models promoted" in figure.name}
    assert {"gate: accuracy", "gate: series of errors", "gate: word error rate"} < kinds
    assert all(figure.bar == "≤ 5" for figure in one if "equal models promoted" in figure.name)


def test_simulated_models_are_as_good_as_the_lines_say() -> None:
    generator = np.random.default_rng(0)
    better, base = gate.accuracy(generator, 200_000, 0.02)
    assert np.mean(base) == pytest.approx(0.90, abs=0.003) and np.mean(better) == pytest.approx(0.92, abs=0.003)
    first, second = gate.series(generator, 50_000, 0.0)
    assert np.corrcoef(first[:-1], first[1:])[0, 1] > 0.9, "windows that overlap"
    assert np.mean(first) == pytest.approx(np.mean(second), rel=0.02)
