"""What is answered without a model: each guess with figures worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.data.tables import Table, read_card, read_table
from pipeline.data.tokens import as_bytes
from pipeline.params import load as load_params
from pipeline.tasks import load_task
from pipeline.tasks.class_guesses import class_guesses
from pipeline.tasks.classification import resampled_metrics
from pipeline.tasks.forecasting.guesses import forecast_guesses
from pipeline.tasks.image_generation.guesses import level_guesses
from pipeline.tasks.object_detection.average_precision import detection_figures
from pipeline.tasks.object_detection.guesses import box_guesses
from pipeline.tasks.speech_recognition.guesses import transcript_guesses
from pipeline.tasks.translation.guesses import sentence_guesses

TINY = load_params(Path(__file__).parents[1] / "tiny.yaml")


def labels(**splits: list[int]) -> dict[str, Table]:
    return {split: {"labels": torch.tensor(values)} for split, values in splits.items()}


def test_the_most_common_class_of_train_is_as_sure_as_it_is_common() -> None:
    tables = labels(train=[2, 0, 2, 1, 2], validation=[0], test=[2, 2, 0, 1])
    card = {"classes": ["a", "b", "c"]}
    table = class_guesses(tables, card)["most_common_class"]["test"]
    assert table["predicted"].tolist() == [2] * 4
    assert table.loc[0, ["probability_0", "probability_1", "probability_2"]].tolist() == pytest.approx([0.2, 0.2, 0.6])
    figures = {name: float(value[0]) for name, value in resampled_metrics(table, card, np.ones((1, 4))).items()}
    assert figures["accuracy"] == 0.5 and figures["calibration_error"] == pytest.approx(0.1)
    assert figures["worst_class_recall"] == 0.0


def test_of_equally_common_classes_the_first_is_guessed() -> None:
    table = class_guesses(labels(train=[1, 0], validation=[0], test=[1]), {"classes": ["a", "b"]})
    assert table["most_common_class"]["test"]["predicted"].tolist() == [0]


def windows(past: list[float], future: list[list[float]]) -> dict[str, torch.Tensor]:
    """Windows of one series with the last values `past`, and the two steps after each."""
    values = torch.tensor(future)[:, None]  # (N, 1, 2)
    return {
        "past": torch.tensor(past)[:, None, None], "future": values, "observed": torch.ones_like(values).bool(),
        "times": torch.arange(2 * len(past)).view(-1, 2),
    }  # fmt: skip


def test_a_forecast_is_guessed_by_the_mean_of_train_and_by_the_last_value() -> None:
    train = {"values": torch.tensor([[1.0], [3.0], [5.0], [99.0]]), "observed": torch.tensor([[1], [1], [1], [0]]) > 0}
    examples = {
        "train": windows([1.0, 3.0, 5.0], [[1.0, 5.0], [2.0, 4.0], [6.0, 3.0]]),
        "validation": windows([50.0], [[60.0, 70.0]]),
        "test": windows([4.0], [[6.0, 8.0]]),
    }
    card = {"columns": ["a"], "naive_error": [1.0]}
    found = forecast_guesses(train, examples, card, [0.0, 0.5, 1.0], np.ones(1))
    mean, last = (found[name]["test"] for name in ("train_mean", "last_value"))
    assert mean["forecast"].tolist() == [3.0, 3.0] and last["forecast"].tolist() == [4.0, 4.0]
    # Errors on train: of the mean −2, −1, 3 and then 2, 1, 0; of the last value 0, −1, 1 and then 4, 1, −2.
    assert mean["lower"].tolist() == [1.0, 3.0] and mean["upper"].tolist() == [6.0, 5.0]
    assert last["lower"].tolist() == [3.0, 2.0] and last["upper"].tolist() == [5.0, 8.0]
    assert found["last_value"]["validation"]["forecast"].tolist() == [50.0, 50.0]


def scenes(*pictures: list[tuple[int, float, float, float, float]], enlarged: int = 1) -> Table:
    """Pictures in a grid of 20 × 20, each with its (class, left, top, right, bottom); files may be larger."""
    most = max(map(len, pictures))
    boxes, kinds = torch.zeros(len(pictures), most, 4), torch.full((len(pictures), most), -1)
    for row, objects in enumerate(pictures):
        for place, (kind, *sides) in enumerate(objects):
            boxes[row, place], kinds[row, place] = torch.tensor(sides), kind
    size = torch.tensor([[20 * enlarged, 20 * enlarged]] * len(pictures))
    return {"images": torch.zeros(len(pictures), 1, 20, 20), "boxes": boxes, "labels": kinds, "sizes": size}


def test_boxes_are_guessed_where_train_has_objects() -> None:
    usual, rare, other = (0, 2.0, 2.0, 10.0, 10.0), (0, 12.0, 12.0, 18.0, 18.0), (1, 5.0, 5.0, 9.0, 15.0)
    tables = {
        "train": scenes([usual, other], [usual], [usual], [rare]),
        "validation": scenes([usual]),
        "test": scenes([usual], [rare], enlarged=3),
    }
    card = {"classes": ["a", "b"], "height": 20, "width": 20}
    found = box_guesses(tables, card, most_boxes=10)
    constant, several = (found[name]["test"] for name in ("constant_box", "constant_boxes"))
    sides = ["predicted", "confidence", "left", "top", "right", "bottom"]
    # The median of class 0 finds 3 of 4 objects in 4 pictures: 3/4 · 3/4; that of class 1 one in 4 pictures: 1/4 · 1.
    assert constant[sides].to_numpy().tolist() == [[0, 0.75, 2, 2, 10, 10]] * 2
    assert several[sides].to_numpy()[:2].tolist() == [[0, 0.75, 2, 2, 10, 10], [1, 0.25, 5, 5, 9, 15]]
    figures = detection_figures(constant, 2, np.ones((1, 2)))
    assert figures["recall50"][0] == 0.5
    assert figures["ap50"][0] == pytest.approx(0.5 * 51 / 101)  # a precision of 0.5 at the recalls 0, 0.01, …, 0.5
    assert len(box_guesses(tables, card, most_boxes=1)["constant_boxes"]["test"]) == 2, "one box in each picture"


def test_a_class_that_occurs_twice_in_a_picture_is_guessed_at_two_places() -> None:
    one, two = (0, 0.0, 0.0, 8.0, 8.0), (0, 10.0, 10.0, 20.0, 20.0)
    table = scenes([one, two], [one, two], [one, two, (0, 0.0, 12.0, 4.0, 16.0)])
    tables = dict.fromkeys(("train", "validation", "test"), table)
    card = {"classes": ["a"], "height": 20, "width": 20}
    found = box_guesses(tables, card, most_boxes=10)
    several = found["constant_boxes"]["test"]
    assert several[["left", "right"]].to_numpy().tolist() == [[0, 8], [10, 20]] * 3
    assert several["confidence"].tolist() == [1.0] * 6 and several["matched_50"].all()
    assert detection_figures(several, 1, np.ones((1, 3)))["ap50"][0] == pytest.approx(86 / 101)  # 6 of 7 are found


def test_a_picture_is_guessed_by_one_histogram_for_all_its_pixels() -> None:
    card: dict[str, Any] = {
        "classes": ["a"], "class_counts": {"train": {"a": 2}}, "levels": 4, "maximum": 3, "channels": 1, "height": 2,
        "width": 2,
    }  # fmt: skip
    train = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 3]], dtype=torch.uint8).view(2, 1, 2, 2)
    test = torch.tensor([[0, 0, 0, 0], [3, 2, 1, 0]], dtype=torch.uint8).view(2, 1, 2, 2)
    tables = {split: {"images": images, "labels": torch.zeros(2, dtype=torch.int64)}
              for split, images in (("train", train), ("validation", test), ("test", test))}  # fmt: skip
    table = level_guesses(tables, card, samples=400)["level_histogram"]["test"]
    bits = -np.log2(np.array([7, 2, 1, 2]) / 12)  # six zeros, a one and a three, each level once more
    assert table["bits"].tolist() == pytest.approx([bits[0], bits.mean()])


def texts(source: list[str], reference: list[str]) -> Table:
    return {"text": torch.from_numpy(as_bytes(source)), "reference": torch.from_numpy(as_bytes(reference))}


def test_a_translation_is_guessed_by_the_most_common_sentence_and_by_the_source() -> None:
    tables = {
        "train": texts(["x"] * 4, ["guten tag", "danke schön", "danke schön", "ja"]),
        "validation": texts(["yes"], ["ja"]),
        "test": texts(["we are in new york city", "thanks"], ["we are in new york city", "danke schön"]),
    }
    found = sentence_guesses(tables)
    usual, copied = (found[name]["test"] for name in ("most_common_sentence", "copied_source"))
    assert usual["translation"].tolist() == ["danke schön"] * 2
    assert copied["translation"].tolist() == ["we are in new york city", "thanks"]
    assert copied["bleu_found_4"].tolist() == [3, 0], "four words in a row that both sides have"
    assert usual["bleu_found_2"].tolist() == [0, 1]


def test_a_transcript_is_guessed_by_nothing_and_by_what_is_said_most_often() -> None:
    said = {"train": ["b", "a c", "b"], "validation": ["a"], "test": ["b", "a c"]}
    tables = {
        split: {"reference": torch.from_numpy(as_bytes(texts)), "lengths": torch.full((len(texts),), 8)}
        for split, texts in said.items()
    }
    found = transcript_guesses(tables, {"sample_rate": 8, "lowercase": True})
    empty, usual = (found[name]["test"] for name in ("empty_transcript", "most_common_transcript"))
    assert empty["transcript"].tolist() == ["", ""] and empty["word_errors"].tolist() == [1, 2]
    assert empty["character_errors"].tolist() == [1, 3] and empty["confidence"].tolist() == [0.0, 0.0]
    assert usual["transcript"].tolist() == ["b", "b"] and usual["word_errors"].tolist() == [0, 2]
    assert usual["confidence"].tolist() == pytest.approx([2 / 3, 2 / 3])


def test_a_style_transfer_is_guessed_by_the_content_itself_and_by_one_colour(prepared: Path) -> None:
    (name,) = (name for name, entry in TINY.experiments.items() if entry.task == "style_transfer")
    task, folder = load_task("style_transfer", TINY.experiments[name].settings), prepared / "data/prepared" / name
    card, tables = read_card(folder), {split: read_table(folder, split) for split in ("train", "validation", "test")}
    found = task.guesses(tables, card, 0)
    kept, even = (found[name]["test"] for name in ("unchanged_content", "mean_colour"))
    assert kept["content_loss"].abs().max() == 0 and kept["style_loss"].min() > 0
    weight = TINY.experiments[name].settings["style_weight"]
    assert kept["content_and_style_loss"].tolist() == pytest.approx((weight * kept["style_loss"]).tolist())
    colour = tables["train"]["images"].double().mean((0, 2, 3)).tolist()
    np.testing.assert_allclose(even[["red", "green", "blue"]], [colour] * len(even), rtol=1e-5)
    assert even["content_loss"].min() > 0
