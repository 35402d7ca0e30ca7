"""Series classification: normalisation, padding, augmentation, the baseline, and requests that cannot be answered."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from pipeline.models import FAMILIES, load_family
from pipeline.models.encoder import trimmed
from pipeline.tasks.requests import request_of_series
from pipeline.tasks.series_classification.baselines import nearest_neighbours
from pipeline.tasks.series_classification.network import normalised, stretched
from pipeline.tasks.series_classification.task import SeriesClassification

CARD = {"classes": ["a", "b", "c"], "columns": ["x", "y"], "mean": [1.0, -2.0], "deviation": [2.0, 1.0]}
TASK = SeriesClassification({"normalise": "none"})
PLAIN = {"pooling": "mean_and_maximum", "crop": 0.0, "warp": 0.0, "scaling": 0.0, "jitter": 0.0, "label_smoothing": 0.0}
ARCHITECTURES = [(family, name) for family in FAMILIES for name in load_family(family).ARCHITECTURES]


def network(family: str = "cnn", architecture: str = "resnet", **changes: Any) -> torch.nn.Module:
    kind = load_family(family)
    torch.manual_seed(0)

    def encoders(channels: int) -> Any:
        return kind(channels, 1, False, architecture=architecture, **kind.EXAMPLE)

    return TASK.network(encoders, CARD, **PLAIN | changes)


def table(lengths: list[int], seed: int = 0) -> dict[str, Tensor]:
    """Series of two channels, zero behind their lengths."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(lengths), 2, max(lengths), generator=generator) * 3 + 10
    for row, length in enumerate(lengths):
        values[row, :, length:] = 0
    return {"values": values, "lengths": torch.tensor(lengths), "labels": torch.arange(len(lengths)) % 3}


@pytest.mark.parametrize(("family", "architecture"), ARCHITECTURES)
@pytest.mark.parametrize("pooling", ["mean", "mean_and_maximum"])
def test_more_padding_changes_no_answer(family: str, architecture: str, pooling: str) -> None:
    model = network(family, architecture, pooling=pooling).eval()
    batch = table([1, 4, 9, 9, 12])
    longer = {**batch, "values": torch.nn.functional.pad(batch["values"], (0, 30))}
    garbage = longer["values"].clone()
    for row, length in enumerate(batch["lengths"].tolist()):
        garbage[row, :, length:] = 1e3
    with torch.inference_mode():
        expected = TASK.output(model, batch)
        padded = model(longer["values"], longer["lengths"])
        torch.testing.assert_close(TASK.output(model, longer), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(padded, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(garbage, longer["lengths"]), expected, rtol=1e-4, atol=1e-5)
        alone = [model(batch["values"][row : row + 1, :, :length], None) for row, length in enumerate([1, 4, 9, 9, 12])]
        torch.testing.assert_close(torch.cat(alone), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["vgg", "googlenet", "resnet"])
def test_the_size_of_a_series_reaches_the_network(architecture: str) -> None:
    """A norm over the channels of each step would make ten times a series the same as the series."""
    model, values = network(architecture=architecture).eval(), torch.randn(1, 2, 20)
    with torch.inference_mode():
        assert (model(values, None) - model(10 * values, None)).abs().max() > 1e-3


def test_predictions_stand_in_the_order_of_the_table_however_long_the_series_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, batch = network().eval(), table([7, 2, 30, 5, 11, 3])
    whole = TASK.predict(model, batch, CARD)
    monkeypatch.setattr("pipeline.tasks.series_classification.task.AT_ONCE", 60)  # two series at a time
    pd.testing.assert_frame_equal(TASK.predict(model, batch, CARD), whole, rtol=1e-4, atol=1e-6)
    assert whole["label"].tolist() == [0, 1, 2, 0, 1, 2]


def test_trimming_keeps_lengths_only_where_they_differ() -> None:
    values = torch.zeros(2, 1, 9)
    cut, lengths = trimmed(values, torch.tensor([4, 4]))
    assert cut.shape == (2, 1, 4) and lengths is None
    cut, lengths = trimmed(values, torch.tensor([4, 6]))
    assert cut.shape == (2, 1, 6) and lengths is not None


def test_series_are_normalised_over_their_own_steps() -> None:
    batch = table([4, 9, 9])
    batch["values"][1, 0] = 0.1  # constant; in float32 its mean is not quite 0.1
    found = normalised(batch["values"], batch["lengths"], "series", CARD)
    for row, length in enumerate([4, 9, 9]):
        own = batch["values"][row, :, :length].double().numpy()
        spread = own.std(axis=1, keepdims=True)
        expected = (own - own.mean(axis=1, keepdims=True)) / np.where(spread > 1e-6, spread, 1)
        np.testing.assert_allclose(found[row, :, :length].numpy(), expected, atol=1e-5)
        assert found[row, :, length:].abs().sum() == 0
    assert found[1, 0].abs().max() < 1e-6 and found.dtype == torch.float32


def test_series_are_normalised_by_train_or_not_at_all() -> None:
    values, lengths = torch.tensor([[[1.0, 3.0, 0.0], [-2.0, 0.0, 0.0]]]), torch.tensor([2])
    assert normalised(values, lengths, "train", CARD).tolist() == [[[0, 1, 0], [0, 2, 0]]]
    assert normalised(values, lengths, "none", CARD) is values


def test_a_normalisation_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^settings.normalise: found 'serie'; allowed: series, train, none$"):
        SeriesClassification({"normalise": "serie"})


def test_stretching_by_nothing_changes_nothing() -> None:
    batch = table([1, 4, 9])
    found = stretched(batch["values"], batch["lengths"], 0.0, 0.0)
    for row, length in enumerate(batch["lengths"].tolist()):
        torch.testing.assert_close(found[row, :, :length], batch["values"][row, :, :length])


def test_a_stretched_series_is_a_window_of_the_series_and_stays_in_its_steps() -> None:
    steps = torch.arange(50.0)
    values = torch.stack([steps, -steps]).expand(400, -1, -1)
    lengths = torch.full((400,), 40)
    torch.manual_seed(0)
    found = stretched(values, lengths, 0.5, 0.0)[:, :, :40]
    assert torch.equal(found[:, 0], -found[:, 1]), "channels move alike"
    width = (found[:, 0, -1] - found[:, 0, 0]) / 39
    assert 0.5 <= float(width.min()) < 0.52 and 0.98 < float(width.max()) <= 1.0
    assert float(found[:, 0].min()) >= 0 and float(found[:, 0].max()) <= 39
    assert (found[:, 0].diff() > 0).all(), "time runs forward, evenly"
    torch.testing.assert_close(found[:, 0].diff(), width[:, None].expand(-1, 39), rtol=1e-3, atol=1e-3)


def test_bent_time_runs_forward_from_the_first_step_to_the_last() -> None:
    values = torch.arange(30.0).expand(200, 1, -1)
    torch.manual_seed(0)
    found = stretched(values, torch.full((200,), 30), 0.0, 0.9)[:, 0]
    assert (found[:, 0] == 0).all() and torch.allclose(found[:, -1], torch.tensor(29.0))
    assert (found.diff() > 0).all()
    assert float((found - values[:, 0]).abs().max()) > 5


def test_augmentation_is_decided_by_torchs_seed_and_leaves_lengths_and_labels_alone() -> None:
    model, batch = network(crop=0.3, warp=0.3, scaling=0.2, jitter=0.1), table([5, 9, 9, 2])
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(TASK.augment(model, batch))
    assert torch.equal(results[0]["values"], results[1]["values"])
    assert not torch.equal(results[0]["values"], results[2]["values"])
    for result in results:
        assert result["lengths"] is batch["lengths"] and result["labels"] is batch["labels"]
        assert result["values"].shape == batch["values"].shape


def test_scaling_multiplies_each_channel_of_each_series() -> None:
    batch = table([9, 9])
    torch.manual_seed(0)
    factors = TASK.augment(network(scaling=0.5), batch)["values"] / batch["values"]
    torch.testing.assert_close(factors, factors[..., :1].expand_as(factors))
    assert len(factors[..., 0].unique()) == 4


def test_without_augmentation_series_stay_as_they_are() -> None:
    batch = table([5, 9])
    assert TASK.augment(network(), batch)["values"] is batch["values"]


def test_the_nearest_neighbour_is_that_of_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    examples = {part: table([12] * count, seed) for seed, (part, count) in enumerate(SIZES.items())}
    scores = nearest_neighbours(examples, 3)
    flat = {part: batch["values"].flatten(1).double().numpy() for part, batch in examples.items()}
    model = KNeighborsClassifier(1).fit(flat["train"], examples["train"]["labels"].numpy())
    for part in ("validation", "test"):
        assert scores[part].argmax(1).tolist() == model.predict(flat[part]).tolist()
        nearest = model.kneighbors(flat[part], 1)[0][:, 0] / math.sqrt(24)
        np.testing.assert_allclose(-scores[part].max(1), nearest, rtol=1e-6)


SIZES = {"train": 60, "validation": 15, "test": 300}


def test_unequal_series_are_stretched_to_the_longest_of_train() -> None:
    lines = {"values": torch.zeros(3, 1, 9), "lengths": torch.tensor([5, 3, 9]), "labels": torch.tensor([0, 1, 2])}
    for row, (length, slope) in enumerate([(5, 1.0), (3, -1.0), (9, 3.0)]):
        lines["values"][row, 0, :length] = torch.linspace(0, slope, length)
    other = {"values": torch.linspace(0, 1, 4)[None, None], "lengths": torch.tensor([4]), "labels": torch.tensor([0])}
    scores = nearest_neighbours({"train": lines, "validation": other, "test": other}, 3)["test"]
    assert scores.argmax() == 0 and scores[0, 0] == pytest.approx(0, abs=1e-7)


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_rows_belong_to_the_series_that_they_name_wherever_they_stand() -> None:
    model, series = network().eval(), [values.numpy() for values in table([3, 3])["values"]]
    request = request_of_series(series, CARD)
    ordered = TASK.answer(model, request, CARD)
    mixed = TASK.answer(model, request.iloc[[3, 0, 4, 1, 5, 2]], CARD)
    assert ordered["series"].tolist() == ["1", "2"] and mixed["series"].tolist() == ["2", "1"]
    pd.testing.assert_frame_equal(mixed.iloc[::-1].reset_index(drop=True), ordered, rtol=1e-5)
    np.testing.assert_allclose(ordered[["a", "b", "c"]].sum(axis=1), 1, atol=1e-6)


def test_numbers_name_series_as_well_as_text_does() -> None:
    answer = TASK.answer(network().eval(), frame(series=[7, 7, 9], x=[1.0, 2, 3], y=[0.0, 0, 0]), CARD)
    assert answer["series"].tolist() == ["7", "9"]


def test_gaps_of_a_request_are_filled_along_straight_lines() -> None:
    model = network().eval()
    gap = TASK.answer(model, frame(series=["s"] * 3, x=[1.0, None, 3.0], y=[5.0, 5.0, None]), CARD)
    whole = TASK.answer(model, frame(series=["s"] * 3, x=[1.0, 2.0, 3.0], y=[5.0, 5.0, 5.0]), CARD)
    pd.testing.assert_frame_equal(gap, whole)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (frame(series=["s"], x=[1.0]), r"found the columns \['series', 'x'\]; missing: y; send a row for every step"),
        (frame(x=[1.0], y=[1.0]), "missing: series"),
        (frame(series=["s", None], x=[1.0, 2], y=[1.0, 2]), "series: found null in row 1"),
        (frame(series=["s", "s"], x=[1.0, 2], y=["1", "two"]), "y: found 'two'; expected numbers"),
        (frame(series=["s", "s"], x=[1.0, math.inf], y=[1.0, 2]), "x: found inf; expected numbers"),
        (frame(series=["s", "t"], x=[1.0, None], y=[1.0, 2]), "series 't': x has no value at all"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_in_one_sentence(request_: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TASK.answer(network().eval(), request_, CARD)
    assert "\n" not in str(caught.value)


def test_a_request_without_rows_gets_an_empty_answer() -> None:
    answer = TASK.answer(network().eval(), frame(series=[], x=[], y=[]), CARD)
    assert list(answer) == ["series", "class", "confidence", "a", "b", "c"] and len(answer) == 0


def test_classes_may_be_called_like_the_columns_of_an_answer() -> None:
    card = CARD | {"classes": ["class", "series", "c"]}
    for request in (frame(series=["s"], x=[1.0], y=[2.0]), frame(series=[], x=[], y=[])):
        answer = TASK.answer(network().eval(), request, card)
        assert list(answer) == ["series", "class", "confidence", "probability of class", "probability of series", "c"]
