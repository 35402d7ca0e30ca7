"""The permutation test of interactions on known answers, the labels of the tasks, and every verdict of difference 9."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.differences import variants
from pipeline.differences.networks import made, multiply_adds
from pipeline.differences.of_variants.interactions import found_by_chance, interactions, largest_verdict, widths
from pipeline.differences.paired import Measured
from pipeline.differences.recorded import temporal_dependency
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED, depends_on

SEEDS = 10
SETTINGS = variants.Settings(
    seeds=SEEDS, selection_seeds=1, rates=[0.01], steps=1, batch=4, depth=2, places=1, margin=0.05,
    interaction_margin=0.01,
)  # fmt: skip
NOISE = np.array([0.002, -0.001, 0.0005, -0.002, 0.001, 0.0015, -0.0015, -0.0005, 0.001, -0.001])
DEPENDS = depends_on("the initialisation")


def recorded(folder: Path, **accuracy: float) -> None:
    """A result of temporal_dependency with the given mean accuracy of every network at long lags; else all are 1."""
    names = [f"{cell}{suffix}" for cell in ("rnn", "lstm", "gru") for suffix in variants.INITIALISATIONS.values()]
    by_lag = {
        name: [[1.0, accuracy.get(name, 1.0) + noise] for noise in (NOISE[:8] if name in accuracy else np.zeros(8))]
        for name in names
    }
    result = {"budget": {"long": 16}, "told": dict.fromkeys(names, ""), "curves": {"lags": [4, 16], "by_lag": by_lag}}
    file = folder / "differences/results/temporal_dependency.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result), encoding="utf-8")


def accuracies(vgg: float = 0.0, noise: float = 1.0) -> dict[str, tuple[list[float], list[float]]]:
    """Of the blocks in both tasks; vgg is ahead in the class by so much."""
    found = {}
    for place, block in enumerate(variants.BLOCKS):
        ahead = vgg if block == "vgg" else 0.0
        found[block] = ((0.9 + ahead + noise * np.roll(NOISE, place)).tolist(), [0.95] * SEEDS)
    return found


def measured_with(**others: Any) -> Measured:
    values = {
        f"{block}, {task}": [{"validation": value} for value in column]
        for block, columns in accuracies(**others).items() for task, column in zip(variants.TASKS, columns, strict=True)
    }  # fmt: skip
    return Measured(values, dict.fromkeys(values, 0.01))


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "PERMUTED", 150)


def test_widths_are_those_of_all_swaps_counted_one_by_one() -> None:
    differences = np.random.default_rng(0).normal(size=(3, 9))
    largest = []
    for signs in product((1, -1), repeat=9):
        swapped = differences * signs
        largest.append(max(abs(swapped.mean(1)) / (swapped.std(1, ddof=1) / 3)))
    wanted = sorted(largest)[int(np.ceil(0.995 * len(largest))) - 1]
    assert widths(differences, [0.995])[0.995] == pytest.approx(wanted)


def test_without_any_interaction_hardly_one_table_in_two_hundred_shows_one() -> None:
    """The strictest case: no margin. 2,000 tables, with seeds that are good or bad for all networks alike."""
    draw = np.random.default_rng(3)
    found = 0
    for _ in range(2000):
        seeds = draw.normal(0, 0.02, SEEDS)
        table = {
            name: ((0.9 + seeds + draw.normal(0, 0.02, SEEDS)).tolist(), draw.normal(0.95, 0.01, SEEDS).tolist())
            for name in "abc"
        }
        found += largest_verdict(list(interactions(table, ("x", "y"), 0.0).values())) == HOLDS
    assert found <= 20  # 0.5 % are 10; three standard errors are as many again


@pytest.mark.parametrize(
    ("ahead", "noise", "verdict"),
    [(0.05, 1.0, HOLDS), (-0.05, 1.0, HOLDS), (0.0, 1.0, DOES_NOT_HOLD), (0.0, 20.0, NOT_DECIDED),
     (0.012, 5.0, NOT_DECIDED), (0.0, 0.0, DOES_NOT_HOLD), (0.05, 0.0, HOLDS)],
)  # fmt: skip
def test_the_largest_interaction_is_judged_on_both_sides(ahead: float, noise: float, verdict: str) -> None:
    effects = list(interactions(accuracies(ahead, noise), variants.TASKS, 0.01).values())
    assert largest_verdict(effects) == verdict
    low, high = effects[0].described()["interval_995"]
    assert low <= effects[0].mean <= high


def test_a_network_that_is_better_in_both_tasks_is_no_interaction() -> None:
    table = accuracies()
    first, second = table["vgg"]
    table["vgg"] = ([value + 0.03 for value in first], [value + 0.03 for value in second])
    assert largest_verdict(list(interactions(table, variants.TASKS, 0.01).values())) == DOES_NOT_HOLD


def test_permuted_labels_show_no_interaction_where_there_is_one() -> None:
    assert found_by_chance(accuracies(0.05), variants.TASKS, 0.01, 600) <= 0.0136  # 0.5 % and three standard errors


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        ({"rnn": 0.6, "rnn, PyTorch's start": 0.6}, HOLDS),
        ({}, DOES_NOT_HOLD),
        ({"rnn, PyTorch's start": 0.6}, DEPENDS),
        ({"rnn": 0.6, "lstm, PyTorch's start": 0.6, "rnn, PyTorch's start": 0.6}, DEPENDS),
        ({"rnn": 0.951, "rnn, PyTorch's start": 0.951}, NOT_DECIDED),
    ],
)
def test_cells_have_to_be_ahead_under_both_initialisations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accuracy: dict[str, float], verdict: str
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path, **accuracy)
    effects = variants.cell_effects(temporal_dependency(), 0.05)
    assert variants.cells_verdict(effects) == verdict
    assert len(effects) == 4


@pytest.mark.parametrize(
    ("recurrent", "pictures", "verdict"),
    [(HOLDS, HOLDS, HOLDS), (DEPENDS, HOLDS, DEPENDS), (DEPENDS, DOES_NOT_HOLD, DOES_NOT_HOLD),
     (DEPENDS, NOT_DECIDED, NOT_DECIDED), (DOES_NOT_HOLD, HOLDS, DOES_NOT_HOLD), (HOLDS, NOT_DECIDED, NOT_DECIDED)],
)  # fmt: skip
def test_both_parts_make_the_verdict(recurrent: str, pictures: str, verdict: str) -> None:
    assert variants.overall(recurrent, pictures) == verdict


def test_claim_holds_where_the_rnn_fails_and_blocks_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path, **{"rnn": 0.6, "rnn, PyTorch's start": 0.6})
    result = variants.judge(measured_with(vgg=0.05), SETTINGS)
    assert result.verdict == HOLDS and not result.needed
    assert "they mend it" in result.shown and "beyond the margin of 1" in result.shown
    assert result.controls["permuted labels show no interaction"]["passed"]
    assert result.advice.startswith("Take an lstm or a gru")
    assert len(variants.draw(json.loads(json.dumps(result.described()))).axes) == 2


def test_claim_does_not_hold_at_the_ceiling_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path)
    result = variants.judge(measured_with(), SETTINGS)
    assert result.verdict == DOES_NOT_HOLD
    assert "all recurrent networks are at the ceiling" in result.shown
    assert variants.draw(json.loads(json.dumps(result.described()))).axes


def test_what_is_not_decided_says_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path, **{"rnn": 0.6, "rnn, PyTorch's start": 0.6})
    result = variants.judge(measured_with(noise=20.0), SETTINGS)
    assert result.verdict == NOT_DECIDED and "more seeds and steps" in result.needed.lower()


def test_answers_are_read_as_a_class_or_as_a_row_and_a_column() -> None:
    answers = torch.zeros(3, variants.OUTPUTS)
    answers[:, 2], answers[:, 9] = 1.0, 2.0  # class 9; row 2, column 4
    classes, corners = torch.tensor([9, 2, 0]), torch.tensor([[2, 4], [2, 0], [0, 0]])
    assert variants.right(answers, "class", classes, corners).tolist() == [1.0, 0.0, 0.0]
    assert variants.right(answers, "place", classes, corners).tolist() == [1.0, 0.5, 0.0]


def test_losses_are_lowest_for_the_right_answer() -> None:
    class Rigged(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answers = torch.full((1, variants.OUTPUTS), -20.0)
            answers[0, 1] = answers[0, 8] = 20.0  # row 1, column 3
            return answers

    def place_loss(row: int, column: int) -> float:
        batch = (torch.zeros(1), torch.zeros(1), torch.tensor([[row, column]]))
        return float(variants.place_loss(Rigged(), batch))  # type: ignore[arg-type]

    assert place_loss(1, 3) == pytest.approx(0, abs=1e-6)
    assert place_loss(1, 0) == pytest.approx(20) and place_loss(0, 0) == pytest.approx(40)


def test_blocks_have_equal_multiply_adds_and_one_head() -> None:
    networks = [made(0, design, 1, 10, **variants.PICTURES) for design in variants.designs(2).values()]
    counts = [multiply_adds(network, torch.zeros(1, 1, 12, 12)) for network in networks]
    assert max(counts) <= 1.05 * min(counts)
    assert {network(torch.zeros(2, 1, 12, 12)).shape for network in networks} == {(2, 10)}


def test_a_training_of_either_task_is_seen_on_test_digits() -> None:
    arms = variants.arms(SETTINGS)
    assert set(arms) == {f"{block}, {task}" for block in variants.BLOCKS for task in variants.TASKS}
    for name in ("vgg, class", "vgg, place"):
        assert 0 <= variants.measure(arms[name].facts, 0, 0.01, SETTINGS, True)["validation"] <= 1
