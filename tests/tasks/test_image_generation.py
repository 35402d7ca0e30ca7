"""What only image generation promises: true chances, nothing seen too early, and pictures that come back for a seed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipeline.data.tables import Table, read_card, read_table
from pipeline.models import FAMILIES, load_family
from pipeline.tasks import load_task
from pipeline.tasks.image_generation.baselines import Histograms, level_counts
from pipeline.tasks.image_generation.network import PixelModel
from pipeline.tasks.image_generation.sampling import (
    Draws,
    drawn,
    evaluation_draws,
    level_at,
    prediction_table,
    requested,
)
from pipeline.tasks.image_generation.task import ImageGeneration
from pipeline.tasks.network import build_network

CLASSES = ["bag", "boot", "coat"]
CASES = [
    (family, architecture, likelihood)
    for family in FAMILIES
    for architecture in load_family(family).ARCHITECTURES
    for likelihood in ("softmax", "mixture")
]
every = pytest.mark.parametrize("family, architecture, likelihood", CASES)
TASK = load_task("image_generation", {"levels": 6, "samples": 12})


def card(channels: int = 2, levels: int = 6) -> dict[str, Any]:
    counts = {"bag": 6, "boot": 2, "coat": 0}
    return {
        "channels": channels, "height": 4, "width": 5, "levels": levels, "maximum": levels - 1, "classes": CLASSES,
        "class_counts": {"train": counts},
    }  # fmt: skip


def model(family: str = "cnn", architecture: str = "resnet", likelihood: str = "softmax", **changes: Any) -> PixelModel:
    torch.manual_seed(0)
    parameters = {**load_family(family).EXAMPLE, "components": 3, "label_channels": 2, "head_width": 8} | changes
    parameters |= {"patch": 1} | changes if family == "rnn" else {}
    chosen = card(**({"levels": changes["levels"]} if "levels" in changes else {}))
    network = build_network(TASK, family, chosen, parameters | {"architecture": architecture, "likelihood": likelihood})
    assert isinstance(network, PixelModel)
    return network.eval()


def pictures(count: int = 3) -> tuple[Tensor, Tensor]:
    images = torch.randint(0, 6, (count, 2, 4, 5), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return images, torch.arange(count) % 3


@pytest.mark.parametrize("likelihood", ["softmax", "mixture"])
@pytest.mark.parametrize("levels", [2, 6, 256])
def test_chances_of_all_levels_sum_to_one_and_bounds_are_their_sums(likelihood: str, levels: int) -> None:
    network = model(likelihood=likelihood, levels=levels)
    outputs = 3 * torch.randn(50, levels if likelihood == "softmax" else 9, dtype=torch.float64)
    every_level = torch.arange(levels).expand(50, levels)
    repeated = outputs[:, None].expand(-1, levels, -1)
    chances = network.log_chances(repeated, every_level).exp()
    torch.testing.assert_close(chances.sum(1), torch.ones(50, dtype=torch.float64), rtol=1e-9, atol=0)
    torch.testing.assert_close(network.bounds(outputs), chances.cumsum(1), rtol=1e-9, atol=1e-12)


def test_a_mixture_keeps_finite_gradients_far_away_from_the_truth() -> None:
    network = model(likelihood="mixture", levels=256)
    outputs = torch.tensor([[0.0, 0.0, 0.0, 50.0, -50.0, 30.0, -20.0, -20.0, 20.0]], requires_grad=True)
    for level in (0, 100, 255):
        chance = network.log_chances(outputs, torch.tensor([level]))
        (gradient,) = torch.autograd.grad(chance.sum(), outputs)
        assert chance.isfinite().all() and gradient.isfinite().all()


@every
def test_bits_of_a_value_depend_on_nothing_that_comes_after_it(family: str, architecture: str, likelihood: str) -> None:
    """Rows before columns before channels; and every value matters to those after it."""
    network = model(family, architecture, likelihood)
    images, labels = pictures(1)
    order = network(images, labels).permute(0, 2, 3, 1).flatten()  # (H * W * C,)
    for channel, row, column in ((0, 0, 0), (1, 1, 2), (0, 2, 4), (1, 3, 3)):
        changed = images.clone()
        changed[0, channel, row, column] = (changed[0, channel, row, column] + 3) % 6
        after = network(changed, labels).permute(0, 2, 3, 1).flatten()
        place = (row * 5 + column) * 2 + channel
        assert torch.equal(after[:place], order[:place])
        assert not torch.equal(after[place + 1 :], order[place + 1 :])


@every
def test_the_class_changes_the_chances(family: str, architecture: str, likelihood: str) -> None:
    network = model(family, architecture, likelihood)
    images, _ = pictures(1)
    assert not torch.equal(network(images, torch.tensor([0])), network(images, torch.tensor([1])))


@every
def test_drawn_values_are_those_that_their_chances_say(family: str, architecture: str, likelihood: str) -> None:
    """Position by position or all at once: the same chances, so the same levels for the same numbers."""
    network = model(family, architecture, likelihood)
    draws = evaluation_draws(6, card())
    found = torch.from_numpy(drawn(network, draws))
    exact = network.double()
    with torch.inference_mode():
        pixels = exact.scaled(found)
        x = torch.cat([torch.nn.functional.pad(pixels, (1, 0)), exact.surroundings(torch.from_numpy(draws.labels))], 1)
        features = exact.encoder(x)[..., :-1]
        for channel in range(2):
            bounds = exact.bounds(exact.outputs(features, pixels[:, :channel]))
            wanted = level_at(bounds, torch.from_numpy(draws.uniforms[:, channel]))
            assert torch.equal(found[:, channel].long(), wanted)
    assert found.unique().tolist() == list(range(6))


def test_a_level_is_found_between_the_bounds_around_a_number() -> None:
    bounds = torch.tensor([0.2, 0.2, 1.0])
    numbers = torch.tensor([0.0, 0.19, 0.2, 0.99, 1.0])
    assert level_at(bounds.expand(5, 3), numbers).tolist() == [0, 0, 2, 2, 2]


def test_a_picture_depends_on_its_seed_and_class_and_not_on_its_company() -> None:
    network = model()
    request = pd.DataFrame({"samples": [3, 1], "label": ["boot", None], "seed": [5, 5]})
    together = TASK.answer(network, request, card())
    assert together["request"].tolist() == [0, 0, 0, 1]
    alone = TASK.answer(network, request[:1].assign(samples=1), card())
    assert alone["image"].tolist() == together["image"].tolist()[:1]
    assert len(set(together["image"][:3])) == 3
    again = TASK.answer(network, request, card())
    pd.testing.assert_frame_equal(again, together)
    assert TASK.answer(network, request.assign(seed=6), card())["image"].tolist() != together["image"].tolist()


def test_pictures_without_a_class_are_of_the_classes_of_train() -> None:
    _, draws = requested(pd.DataFrame({"samples": [400]}), card())
    shares = np.bincount(draws.labels, minlength=3) / 400
    assert shares[2] == 0
    assert shares[0] == pytest.approx(0.75, abs=0.06)


@pytest.mark.parametrize("columns, message", [
    ({"count": [1]}, r"found the columns \['count'\]; expected `samples`"),
    ({"samples": [0]}, "row 0, samples: found 0; allowed: a whole number from 1 to 1000"),
    ({"samples": [1, 2.5]}, r"row 1, samples: found 2\.5; allowed: a whole number"),
    ({"samples": ["many"]}, "row 0, samples: found 'many'; allowed"),
    ({"samples": [None]}, "row 0, samples: found (None|nan); allowed"),
    ({"samples": [True]}, "row 0, samples: found True; allowed"),
    ({"samples": [600, 600]}, "asks for more than 1000 pictures"),
    ({"samples": [1], "label": ["hat"]}, "row 0, label: found 'hat'; allowed: bag, boot, coat, or none"),
    ({"samples": [1], "seed": [-1]}, r"row 0, seed: found -1; allowed: a whole number from 0"),
    ({"samples": [1], "seed": [float("inf")]}, "row 0, seed: found inf; allowed"),
])  # fmt: skip
def test_a_request_that_cannot_be_answered_is_told_why(columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        requested(pd.DataFrame(columns), card())


def test_answers_are_pictures_of_the_size_of_the_data(prepared: Path) -> None:
    folder = prepared / "data/prepared/stripes"
    known = read_card(folder)
    network = build_network(
        TASK, "cnn", known,
        {"architecture": "vgg", "width": 16, "depth": 1, "kernel_size": 3, "dropout": 0.0, "likelihood": "softmax",
         "components": 1, "label_channels": 1, "head_width": 8},
    )  # fmt: skip
    answer = TASK.answer(network, TASK.input_example(read_table(folder, "test"), known), known)
    assert answer["request"].tolist() == [0, 0, 1]
    for file in answer["image"]:
        image = Image.open(io.BytesIO(file))
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (6, 5))


def test_histograms_count_and_are_smoothed() -> None:
    images = np.array([0, 0, 0, 1], dtype=np.uint8).reshape(4, 1, 1, 1)
    counts = level_counts(images, np.zeros(4, dtype=np.int64), {"levels": 4})
    assert counts.tolist() == [[[3.0, 1.0, 0.0, 0.0]]]
    fitted = Histograms(counts, smoothing=1.0)
    assert fitted.chances.tolist() == [[[0.5, 0.25, 0.125, 0.125]]]
    assert fitted.bits(images, np.zeros(4, dtype=np.int64)).ravel().tolist() == [1.0, 1.0, 1.0, 2.0]
    draws = Draws(np.zeros(3, dtype=np.int64), np.array([0.49, 0.5, 0.99]).reshape(3, 1, 1, 1))
    assert fitted.drawn(draws, draws.labels).ravel().tolist() == [0, 1, 3]


def test_baselines_tell_classes_apart_where_there_are_some(prepared: Path) -> None:
    folder = prepared / "data/prepared/stripes"
    known = read_card(folder)
    tables = {split: read_table(folder, split) for split in ("train", "validation", "test")}
    task = load_task("image_generation", {"levels": 16, "samples": 20})
    found = {name: task.metrics(both["test"], known) for name, both in task.baselines(tables, known, 0).items()}
    assert found["class_histogram"]["bits_per_dimension"] < 0.7 * found["histogram"]["bits_per_dimension"]
    assert found["class_histogram"]["sample_accuracy"] == 1.0


def test_the_classifier_of_the_samples_is_as_good_as_they_are(prepared: Path) -> None:
    """Real pictures in the place of samples teach it all; with wrong labels it learns that."""
    folder = prepared / "data/prepared/stripes"
    known, train, test = read_card(folder), read_table(folder, "train"), dict(read_table(folder, "test"))
    bits = np.ones(tuple(test["images"].shape))
    labels = train["labels"].numpy()
    for given, accuracy in ((labels, 1.0), (1 - labels, 0.0)):
        table = prediction_table(bits, test, train["images"].numpy(), given, known)
        assert ImageGeneration({"levels": 16, "samples": 20}).metrics(table, known)["sample_accuracy"] == accuracy


def test_one_class_is_drawn_and_nothing_is_said_of_telling_it_apart(tmp_path: Path) -> None:
    alone = card(channels=1) | {"classes": ["bag"], "class_counts": {"train": {"bag": 6}}}
    parameters = {**load_family("cnn").EXAMPLE, "architecture": "resnet", "likelihood": "softmax", "components": 1}
    network = build_network(TASK, "cnn", alone, parameters | {"label_channels": 1, "head_width": 8}).eval()
    images, _ = pictures(12)
    table: Table = {"images": images[:, :1], "labels": torch.zeros(12, dtype=torch.int64)}
    tables = dict.fromkeys(("train", "validation", "test"), table)
    baselines = TASK.baselines(tables, alone, 0)
    assert list(baselines) == ["histogram"]
    for found in (TASK.predict(network, dict(table), alone), baselines["histogram"]["test"]):
        assert set(TASK.metrics(found, alone)) == {"bits_per_dimension"}
        assert all(path.stat().st_size for path in TASK.pictures(found, table, alone, tmp_path, "title"))
        assert [probe.name for probe in TASK.probes(table, found, alone)]
    answer = TASK.answer(network, TASK.input_example(table, alone), alone)
    assert answer["label"].tolist() == ["bag"] * 3


def test_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="patch: found 2; allowed: 1, every pixel has features of its own"):
        model("rnn", "gru", patch=2)


@pytest.mark.parametrize("name, value", [("levels", 1), ("levels", 257), ("levels", 16.0), ("samples", 1)])
def test_settings_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^settings\.{name}: found {value}; allowed: a whole number from 2 to"):
        load_task("image_generation", {"levels": 16, "samples": 20} | {name: value})
