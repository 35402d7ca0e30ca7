"""Data types: what is permuted and what is not, generators with their known answers, and every verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.differences import canvas
from pipeline.differences import data_types as subject
from pipeline.differences.optimise import generator
from pipeline.differences.paired import Measured
from pipeline.differences.sequences import ordered_motifs, regimes
from pipeline.differences.settings import chosen
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED, Effect

PARAMS = Path(__file__).parents[2] / "differences/params.yaml"
SETTINGS = chosen(PARAMS, "data_types", subject.Settings)[1]


@pytest.mark.parametrize("kind", subject.KINDS)
def test_one_permutation_moves_the_positions_of_all_examples_alike(kind: str) -> None:
    facts = {"kind": kind, "pixels": False}
    intact, truth = subject.examples(generator(1, "x"), 8, {**facts, "form": "intact"}, SETTINGS)
    permuted, same = subject.examples(generator(1, "x"), 8, {**facts, "form": "permuted"}, SETTINGS)
    assert torch.equal(truth, same) and intact.shape == permuted.shape and not torch.equal(intact, permuted)
    order = torch.randperm(intact.flatten(2).shape[2], generator=generator(0, "permutation"))
    assert torch.equal(intact.flatten(2)[:, :, order], permuted.flatten(2))
    again, _ = subject.examples(generator(2, "x"), 8, {**facts, "form": "permuted"}, SETTINGS, test=True)
    assert again.shape == permuted.shape


def test_digits_stand_where_they_are_placed_and_test_digits_are_others() -> None:
    (train, _), (test, _) = canvas.train_digits(), canvas.test_digits()
    assert len(train) + len(test) == 1797
    x, _, corners = canvas.batch_of(generator(0, "x"), (train, torch.arange(len(train))), 50)
    assert x.shape == (50, 1, 12, 12) and {int(c) for c in corners.flatten()} <= set(range(5))
    one = canvas.placed_at(torch.ones(1, 8, 8), torch.tensor([[4, 0]]))
    assert one.sum() == 64 and one[0, 0, 4:, :8].all()


def test_motifs_tell_their_order_and_regimes_their_memory() -> None:
    x, first = ordered_motifs(generator(0, "x"), 600, 48, 6)
    ramp = torch.linspace(-2, 2, 6)
    match = x[:, 0].unfold(1, 6, 1) @ ramp  # (B, 43)
    rising, falling = match.argmax(1), match.argmin(1)
    assert float(((rising > falling).long() == first).float().mean()) > 0.95
    series, kind = regimes(generator(0, "x"), 600, 48, 0.5)
    memory = (series[:, 0, 1:] * series[:, 0, :-1]).mean(1)
    assert float(((memory < 0).long() == kind).float().mean()) > 0.95
    assert float(series.var()) == pytest.approx(1, abs=0.05) and abs(float(series.mean())) < 0.05


def rigged(picture: float, motifs: float, regime: float, equal_cost: float | None = None) -> Measured:
    """How much more the permutation costs the family that the claim names, for each kind of data."""
    ahead = {subject.PICTURES: picture, subject.MOTIFS: motifs, subject.REGIMES: regime}

    def accuracy(kind: str, name: str, form: str, seed: int) -> float:
        lost = ahead[kind]
        if name == subject.EQUAL_COST and equal_cost is not None:
            lost = equal_cost
        family = "rnn" if name in ("rnn", subject.IN_PIXELS) else "cnn"
        named = family == ("cnn" if kind == subject.PICTURES else "rnn")
        return 0.9 - (lost if form == "permuted" and named else 0.0) + 0.001 * (-1) ** seed * (family == "cnn")

    values: dict[str, Any] = {}
    for kind in subject.KINDS:
        for name in subject.designs(kind):
            for form in subject.FORMS:
                found = [{"validation": accuracy(kind, name, form, seed)} for seed in range(8)]
                values[f"{kind}, {name}, {form}"] = found
    return Measured(values, {}, {})


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ((0.3, 0.2, 0.2), HOLDS),
        ((0.0, 0.2, 0.2), DOES_NOT_HOLD),
        ((0.3, 0.0, 0.0), DOES_NOT_HOLD),
        ((0.3, 0.2, -0.1), "depends on the data set"),
        ((0.3, 0.2, 0.2, -0.2), "depends on the matching"),
        ((0.0, 0.2, -0.1), DOES_NOT_HOLD),
        ((0.3, 0.2, 0.0), DOES_NOT_HOLD),
        ((0.3, 0.2, 0.2), NOT_DECIDED),
    ],
)
def test_the_verdict_follows_from_what_the_permutation_costs(lost: tuple[float, ...], expected: str) -> None:
    result = subject.judge(rigged(*lost), SETTINGS)
    effects = dict(result.effects)
    if expected == NOT_DECIDED:
        effects[subject.REGIMES] = Effect("", "share", tuple(np.linspace(-0.5, 0.7, 8)), 0.01)
    assert subject.verdict_of(effects) == expected


def test_networks_are_matched_as_said() -> None:
    sizes = subject.judge(rigged(0.3, 0.2, 0.2), SETTINGS).sizes
    digits = {name.removeprefix("digits, "): found for name, found in sizes.items() if name.startswith("digits")}
    assert digits["cnn"]["parameters"] == pytest.approx(digits["rnn"]["parameters"], rel=0.05)
    assert digits[subject.EQUAL_COST]["multiply_adds"] == pytest.approx(digits["rnn"]["multiply_adds"], rel=0.05)
    for kind in subject.SEQUENCES:
        for name in ("parameters", "multiply_adds"):
            assert sizes[f"{kind}, cnn"][name] == pytest.approx(sizes[f"{kind}, rnn"][name], rel=0.06)


def test_the_figure_is_drawn_from_the_result_alone() -> None:
    described = json.loads(json.dumps(subject.judge(rigged(0.3, 0.2, 0.2), SETTINGS).described(), sort_keys=True))
    assert [axes.get_title() for axes in subject.draw(described).axes] == list(subject.KINDS)
