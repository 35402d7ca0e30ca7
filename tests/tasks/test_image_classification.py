"""Image classification: its figures against scikit-learn, its augmentation, and requests that cannot be answered."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, recall_score

from pipeline.formats.image import png
from pipeline.models import load_family
from pipeline.tasks.classification import prediction_table
from pipeline.tasks.image_classification import task as image_classification
from pipeline.tasks.image_classification.task import ImageClassification, decoded, shifted

CARD = {"classes": ["a", "b", "c"], "channels": 1, "height": 6, "width": 5, "maximum": 16}
CARD |= {"mean": [0.4], "deviation": [0.3]}
TASK = ImageClassification({})


@pytest.fixture
def predictions() -> pd.DataFrame:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 200)
    scores = generator.normal(size=(200, 3))
    scores[np.arange(200), labels] += 1
    powers = np.exp(scores)
    return prediction_table(powers / powers.sum(1, keepdims=True), labels)


def network(**changes: object) -> torch.nn.Module:
    family = load_family("cnn")
    torch.manual_seed(0)

    def encoders(channels: int) -> Any:
        return family(channels, 2, False, architecture="vgg", **family.EXAMPLE)

    return TASK.network(encoders, CARD, **{"shift": 1, "flip": False, "label_smoothing": 0.0, **changes})


def test_figures_are_those_of_scikit_learn(predictions: pd.DataFrame) -> None:
    truth, found = predictions["label"], predictions["predicted"]
    metrics = TASK.metrics(predictions, CARD)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(truth, found), abs=1e-12)
    assert metrics["macro_f1"] == pytest.approx(f1_score(truth, found, average="macro"), abs=1e-12)
    assert metrics["worst_class_recall"] == pytest.approx(recall_score(truth, found, average=None).min(), abs=1e-12)
    assert 0.5 < metrics["accuracy"] < 0.9


def test_the_calibration_error_is_the_mean_gap_of_15_bins(predictions: pd.DataFrame) -> None:
    right = (predictions["label"] == predictions["predicted"]).astype(float)
    bins = pd.cut(predictions["confidence"], np.linspace(0, 1, 16), right=False)
    gaps = (right - predictions["confidence"]).groupby(bins, observed=True).agg(["mean", "size"])
    expected = (gaps["mean"].abs() * gaps["size"]).sum() / len(predictions)
    assert TASK.metrics(predictions, CARD)["calibration_error"] == pytest.approx(expected, abs=1e-12)


def test_a_class_without_examples_does_not_count(predictions: pd.DataFrame) -> None:
    two = predictions[predictions["label"] != 2].copy()
    two["predicted"] = two["predicted"].clip(upper=1)
    two["example"] = np.arange(len(two))
    metrics = TASK.metrics(two, CARD)
    assert metrics["macro_f1"] == pytest.approx(f1_score(two["label"], two["predicted"], average="macro"), abs=1e-12)
    assert metrics["worst_class_recall"] > 0


def test_resampling_is_linear_in_the_weights(predictions: pd.DataFrame) -> None:
    weights = np.random.default_rng(0).multinomial(200, np.full(200, 1 / 200), size=7).astype(float)
    found = TASK.resampled_metrics(predictions, CARD, weights)
    truth, predicted = predictions["label"].to_numpy(), predictions["predicted"].to_numpy()
    for row, counts in enumerate(weights):
        drawn = np.repeat(np.arange(200), counts.astype(int))
        assert found["accuracy"][row] == pytest.approx(accuracy_score(truth[drawn], predicted[drawn]))
        assert found["macro_f1"][row] == pytest.approx(f1_score(truth[drawn], predicted[drawn], average="macro"))


def test_augmentation_is_decided_by_torchs_seed_and_leaves_labels_alone() -> None:
    images = torch.randint(0, 17, (32, 1, 6, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    batch = {"images": images, "labels": torch.arange(32) % 3}
    model = network(flip=True)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(TASK.augment(model, batch))
    assert torch.equal(results[0]["images"], results[1]["images"])
    assert not torch.equal(results[0]["images"], results[2]["images"])
    for result in results:
        assert torch.equal(result["labels"], batch["labels"])
        assert result["images"].shape == images.shape and result["images"].dtype == torch.uint8
    assert not torch.equal(results[0]["images"], images)


def test_without_shift_and_flip_images_stay_as_they_are() -> None:
    batch = {"images": torch.randint(0, 17, (4, 1, 6, 5), dtype=torch.uint8), "labels": torch.arange(4) % 3}
    assert torch.equal(TASK.augment(network(shift=0), batch)["images"], batch["images"])


def test_shifted_images_are_moved_by_up_to_so_many_pixels_and_black_elsewhere() -> None:
    image = torch.arange(1, 31, dtype=torch.uint8).view(1, 1, 6, 5)
    torch.manual_seed(0)
    moved = shifted(image.expand(200, -1, -1, -1), 2)
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))[0, 0]
    allowed = {
        tuple(padded[row : row + 6, column : column + 5].flatten().tolist()) for row in range(5) for column in range(5)
    }
    seen = {tuple(one.flatten().tolist()) for one in moved}
    assert seen <= allowed
    assert len(seen) > 20, "nearly all of the 25 places occur in 200 draws"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("maximum", [16, 255])
def test_an_image_survives_its_file(channels: int, maximum: int) -> None:
    card = CARD | {"channels": channels, "maximum": maximum}
    image = np.random.default_rng(0).integers(0, maximum + 1, (channels, 6, 5)).astype(np.uint8)
    assert np.array_equal(decoded(io.BytesIO(png(image, maximum)), card), image)


def test_a_picture_of_another_size_kind_and_orientation_is_brought_into_form() -> None:
    stream = io.BytesIO()
    picture = Image.new("RGBA", (60, 40), (255, 255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture.convert("RGB").save(stream, format="JPEG", exif=exif)
    found = decoded(stream, CARD)
    assert found.shape == (1, 6, 5) and found.min() == 16


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pd.DataFrame({"picture": [b""]}), r"found the columns \['picture'\]; expected one column `image`"),
        (pd.DataFrame({"image": ["text"]}), "row 0: found str; expected the bytes of an image file"),
        (pd.DataFrame({"image": [b"no picture"]}), "row 0: the picture: not readable as an image"),
        (pd.DataFrame({"image": [None]}), "row 0: found NoneType; expected the bytes"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_in_one_sentence(request_: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TASK.answer(network().eval(), request_, CARD)
    assert "\n" not in str(caught.value)


def test_one_broken_image_among_many_is_named_by_its_row() -> None:
    good = png(np.zeros((1, 6, 5), np.uint8))
    with pytest.raises(ValueError, match="row 2: the picture: not readable as an image"):
        TASK.answer(network().eval(), pd.DataFrame({"image": [good, good, good[:40]]}), CARD)


def test_a_request_without_images_gets_an_empty_answer() -> None:
    answer = TASK.answer(network().eval(), pd.DataFrame({"image": []}), CARD)
    assert list(answer) == ["class", "confidence", "a", "b", "c"] and len(answer) == 0


def bright_rows(train: np.ndarray) -> dict[str, dict[str, torch.Tensor]]:
    """Splits of pictures in which a bright row says the class, with these labels in train."""
    generator = np.random.default_rng(0)
    tables = {}
    for split, labels in (("train", train), ("validation", np.arange(30) % 3), ("test", np.arange(30) % 3)):
        images = generator.integers(0, 6, (len(labels), 1, 6, 5))
        images[np.arange(len(labels)), 0, labels, :] += 9
        tables[split] = {"images": torch.tensor(images, dtype=torch.uint8), "labels": torch.tensor(labels)}
    return tables


def test_the_baseline_of_many_images_learns_from_components_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def spy(pixels: Any, labels: Any, seed: int) -> Any:
        seen.append((*pixels["train"].shape, *pixels["test"].shape, len(set(labels["train"]))))
        return learn(pixels, labels, seed)

    learn = image_classification._svc
    for name, value in {"_svc": spy, "LARGE": 100, "SAMPLE": 50, "COMPONENTS": 4}.items():
        monkeypatch.setattr(image_classification, name, value)
    with_one_of_class_c = np.array([*(np.arange(599) % 2), 2])
    found = [TASK.baselines(bright_rows(with_one_of_class_c), CARD, 0)["svc"]["test"] for _ in range(2)]
    assert seen[0] == seen[1] and seen[0][0] in range(50, 54), "no class is missing, so that 1 to 3 may come on top"
    assert seen[0][1:] == (4, 30, 4, 3)
    pd.testing.assert_frame_equal(*found)
    with_two = found[0][found[0]["label"] < 2]
    assert (with_two["predicted"] == with_two["label"]).mean() > 0.9


def test_the_baseline_is_picked_on_validation_and_calibrated() -> None:
    found = TASK.baselines(bright_rows(np.arange(90) % 3), CARD, 0)
    assert list(found) == ["svc"]
    assert TASK.metrics(found["svc"]["test"], CARD)["accuracy"] == 1.0
    columns = [f"probability_{number}" for number in range(3)]
    np.testing.assert_allclose(found["svc"]["test"][columns].sum(axis=1), 1)
    assert found["svc"]["test"]["confidence"].mean() > 0.9
