"""Object detection: average precision, matching and suppression against plain loops, augmentation, loss and answers."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image

from pipeline.models import load_family
from pipeline.tasks.object_detection.average_precision import THRESHOLDS, curve, detection_figures, picture_scores
from pipeline.tasks.object_detection.detections import (
    encoded_pictures,
    found_boxes,
    inner_sizes,
    matches,
    prediction_table,
    reported,
)
from pipeline.tasks.object_detection.network import Detector, overlaps
from pipeline.tasks.object_detection.task import ObjectDetection, focal_loss, responsible, sampled

CARD = {"classes": ["a", "b"], "channels": 3, "height": 24, "width": 32, "maximum": 255, "side": 10.0}
CARD |= {"mean": [0.5, 0.4, 0.3], "deviation": [0.2, 0.2, 0.2]}
SETTINGS = {"confidence": 0.05, "overlap": 0.5, "most_boxes": 10}
TASK = ObjectDetection(SETTINGS)
PARAMETERS = {
    "head_width": 8,
    "head_depth": 1,
    "radius": 1.5,
    "flip": False,
    "upside_down": False,
    "shift": 0,
    "zoom": 0.0,
    "brightness": 0.0,
}


def network(family: str = "cnn", **changes: Any) -> Detector:
    chosen: Any = load_family(family)
    architecture = next(iter(chosen.ARCHITECTURES))
    torch.manual_seed(0)

    def encoders(channels: int) -> Any:
        return chosen(channels, 2, False, architecture=architecture, **chosen.EXAMPLE)

    return TASK.network(encoders, CARD, **{**PARAMETERS, **changes})


def random_boxes(generator: np.random.Generator, *shape: int) -> np.ndarray:
    corner = generator.uniform(0, 20, (*shape, 2))
    return np.concatenate([corner, corner + generator.uniform(3, 9, (*shape, 2))], axis=-1).astype(np.float32)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of two boxes, with plain numbers."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [float(box[2] - box[0]) * float(box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def scene(pictures: int = 30, seed: int = 0) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """(N, 10, 6) found boxes, near true ones and elsewhere, and the truth; the third picture has neither."""
    generator = np.random.default_rng(seed)
    boxes, labels = random_boxes(generator, pictures, 6), generator.integers(-1, 2, (pictures, 6))
    near = boxes[:, generator.integers(0, 6, 10)] + generator.normal(0, 0.8, (pictures, 10, 4)).astype(np.float32)
    found = np.where(generator.random((pictures, 10, 1)) < 0.7, near, random_boxes(generator, pictures, 10))
    sure = np.sort(generator.uniform(0.05, 1, (pictures, 10)))[:, ::-1]
    kinds = generator.integers(0, 2, (pictures, 10))
    table = np.concatenate([found, sure[..., None], kinds[..., None]], axis=2)
    table[generator.random((pictures, 10)).argsort(1) > 7] = [0, 0, 0, 0, 0, -1]
    table[2], labels[2] = [0, 0, 0, 0, 0, -1], -1
    order = (table[..., 5] < 0).argsort(1, kind="stable")
    table = np.take_along_axis(table, order[..., None], 1)
    return table, {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels)}


def plain_matches(found: np.ndarray, boxes: np.ndarray, labels: np.ndarray, threshold: float) -> list[bool]:
    """One picture, as the definition reads: each box in turn takes the best true one of its class that is left."""
    left = [number for number in range(len(labels)) if labels[number] >= 0]
    hits = []
    for box in found:
        able = [n for n in left if labels[n] == box[5] and iou(box, boxes[n]) >= threshold]
        best = max(able, key=lambda number: iou(box, boxes[number]), default=None)
        hits.append(best is not None)
        left = [number for number in left if number != best]
    return hits


def plain_average_precision(rows: list[tuple[float, bool]], truths: int) -> float:
    """COCO's 101 points, one after the other."""
    rows = sorted(rows, reverse=True)
    points, hits = [], 0
    for count, (_, hit) in enumerate(rows, start=1):
        hits += hit
        points.append((hits, hits / count))
    best = [max((p for h, p in points if 100 * h >= level * truths), default=0.0) for level in range(101)]
    return sum(best) / 101


def test_average_precision_is_that_of_a_plain_computation() -> None:
    found, truth = scene()
    boxes, labels = truth["boxes"].numpy(), truth["labels"].numpy()
    figures = TASK.metrics(prediction_table(found, truth, CARD), CARD)
    expected = np.zeros((2, len(THRESHOLDS)))
    for label in (0, 1):
        for at, threshold in enumerate(THRESHOLDS):
            rows = []
            for picture in range(len(found)):
                own = found[picture][found[picture, :, 5] == label]
                hits = plain_matches(own, boxes[picture], labels[picture], threshold)
                rows += list(zip(own[:, 4].tolist(), hits, strict=True))
            expected[label, at] = plain_average_precision(rows, int((labels == label).sum()))
    assert 0.1 < expected[:, 0].mean() < 0.9
    assert figures["ap50"] == pytest.approx(expected[:, 0].mean(), abs=1e-12)
    assert figures["ap75"] == pytest.approx(expected[:, 5].mean(), abs=1e-12)
    assert figures["ap"] == pytest.approx(expected.mean(), abs=1e-12)
    assert figures["worst_class_ap50"] == pytest.approx(expected[:, 0].min(), abs=1e-12)


def test_average_precision_is_that_of_cocos_own_evaluation() -> None:
    found, truth = scene(pictures=60)
    boxes, labels = truth["boxes"].numpy(), truth["labels"].numpy()

    def entry(picture: int, box: np.ndarray, label: float) -> dict[str, Any]:
        left, top, right, bottom = box[:4].astype(float).tolist()
        sides = [left, top, right - left, bottom - top]
        return {"image_id": picture + 1, "category_id": int(label) + 1, "bbox": sides, "area": sides[2] * sides[3]}

    known = [
        entry(picture, box, label) | {"iscrowd": 0}
        for picture in range(60)
        for box, label in zip(boxes[picture], labels[picture], strict=True)
        if label >= 0
    ]
    answers = [
        entry(picture, box, box[5]) | {"score": float(box[4])}
        for picture in range(60)
        for box in found[picture]
        if box[5] >= 0
    ]
    described = {
        "images": [{"id": picture + 1, "height": 24, "width": 32} for picture in range(60)],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [each | {"id": number} for number, each in enumerate(known, start=1)],
    }
    library = COCO(described)
    evaluation = COCOeval_faster(library, library.loadRes(answers), iouType="bbox", print_function=lambda *_: None)
    evaluation.run()
    figures = TASK.metrics(prediction_table(found, truth, CARD), CARD)
    assert 0.02 < figures["ap"] < figures["ap50"] < 0.9
    assert [figures[name] for name in ("ap", "ap50", "ap75")] == pytest.approx(evaluation.stats[:3], abs=1e-6)


def test_weights_are_repetitions_also_where_boxes_are_equally_sure() -> None:
    found, truth = scene()
    found[..., 4] = np.where(found[..., 5] >= 0, np.round(found[..., 4], 1).clip(0.1), 0)  # many ties
    table = prediction_table(found, truth, CARD)
    generator = np.random.default_rng(1)
    weights = generator.multinomial(30, np.full(30, 1 / 30), size=5).astype(float)
    figures = TASK.resampled_metrics(table, CARD, weights)
    for row, counts in enumerate(weights.astype(int)):
        drawn = generator.permutation(np.repeat(np.arange(30), counts))
        copies = [table[table["example"] == example].assign(example=at) for at, example in enumerate(drawn)]
        for name, value in TASK.metrics(pd.concat(copies, ignore_index=True), CARD).items():
            assert figures[name][row] == pytest.approx(value, abs=1e-12), name


def test_perfect_boxes_have_the_highest_figures_and_none_the_lowest() -> None:
    _, truth = scene()
    boxes, labels = truth["boxes"].numpy(), truth["labels"].numpy()
    perfect = np.concatenate([boxes, np.where(labels >= 0, 0.9, 0)[..., None], labels[..., None]], axis=2)
    order = (labels < 0).argsort(1, kind="stable")
    table = prediction_table(np.take_along_axis(perfect, order[..., None], 1), truth, CARD)
    assert set(TASK.metrics(table, CARD).values()) == {1.0}
    assert (picture_scores(table) == 1).all()
    nothing = prediction_table(np.full((30, 1, 6), -1.0), truth, CARD)
    assert set(TASK.metrics(nothing, CARD).values()) == {0.0}
    assert nothing["example"].tolist() == list(range(30)), "pictures without boxes are in the table"


def test_a_class_without_true_boxes_does_not_count_and_resamples_without_any_are_numbers() -> None:
    found, truth = scene()
    truth["labels"] = truth["labels"].where(truth["labels"] != 1, -1)
    table = prediction_table(found, truth, CARD)
    figures = TASK.resampled_metrics(table, CARD, np.stack([np.ones(30), np.eye(30)[2]]))
    assert figures["ap50"][0] == figures["worst_class_ap50"][0] > 0
    assert all(np.isfinite(values).all() for values in figures.values()) and figures["ap50"][1] == 0


def test_two_thousand_resamples_take_seconds() -> None:
    found, truth = scene(500)
    table = prediction_table(np.concatenate([found, found, found], axis=1), truth, CARD)
    weights = np.random.default_rng(0).multinomial(500, np.full(500, 1 / 500), size=2000).astype(float)
    started = time.process_time()
    detection_figures(table, 2, weights)
    assert time.process_time() - started < 20


def test_matches_are_those_of_a_plain_loop() -> None:
    found, truth = scene()
    boxes, labels = truth["boxes"].numpy(), truth["labels"].numpy()
    matched = matches(found, boxes, labels)
    for picture in range(len(found)):
        for at, threshold in enumerate(THRESHOLDS):
            plain = plain_matches(found[picture], boxes[picture], labels[picture], threshold)
            assert matched[picture, :, at].tolist() == plain
    assert matched[..., 0].sum() > matched[..., 5].sum() > 0


def test_suppression_keeps_what_a_plain_loop_keeps() -> None:
    generator = np.random.default_rng(0)
    boxes, labels = random_boxes(generator, 8, 60), generator.integers(0, 2, (8, 60))
    sure = np.sort(generator.uniform(0, 1, (8, 60)))[:, ::-1].copy()
    given = [torch.from_numpy(array) for array in (boxes, sure.astype(np.float32), labels)]
    found = reported(*given, torch.tensor([[30, 30]] * 8), 0.2, 0.4, 100).numpy()
    assert found.shape == (8, 100, 6)
    for picture in range(8):
        kept: list[int] = []
        for at in range(60):
            rivals = [k for k in kept if labels[picture, k] == labels[picture, at]]
            beaten = any(iou(boxes[picture, k], boxes[picture, at]) > 0.4 for k in rivals)
            if sure[picture, at] >= 0.2 and not beaten:
                kept.append(at)
        assert found[picture, : len(kept), :4].tolist() == boxes[picture, kept].tolist()
        assert (found[picture, len(kept) :, 5] == -1).all()
        assert 5 < len(kept) < 50
    assert (reported(*given, torch.tensor([[30, 30]] * 8), 0.2, 0.4, 3).numpy() == found[:, :3]).all()


def test_boxes_are_cut_at_the_edge_of_the_picture_and_not_of_the_grid() -> None:
    boxes = torch.tensor([[[-5.0, -5.0, 100.0, 100.0], [0.0, 20.0, 9.0, 23.0]]])
    found = reported(boxes, torch.tensor([[0.9, 0.8]]), torch.tensor([[0, 1]]), torch.tensor([[18, 30]]), 0.1, 0.5, 5)
    assert found[0, 0, :4].tolist() == [0, 0, 30, 18]
    assert found[0, 1:, 5].tolist() == [-1] * 4, "what lies below the picture is no box"
    assert inner_sizes(torch.tensor([[480, 640], [50, 100], [1, 1]]), 24, 32).tolist() == [[24, 32], [16, 32], [24, 24]]


def test_the_confidence_is_the_mean_of_class_and_fit() -> None:
    output = torch.full((1, 2, 7), -9.0)
    output[0, 0] = torch.tensor([2.0, -9, 1.0, 4, 4, 12, 12])
    found = found_boxes(output, torch.tensor([[24, 32]]), **SETTINGS)
    assert found[0, 0].tolist() == pytest.approx(
        [4, 4, 12, 12, float((torch.tensor([2.0, 1.0]).sigmoid().prod()).sqrt()), 0]
    )
    assert found.shape == (1, 10, 6) and (found[0, 1:, 5] == -1).all()


def test_overlaps_have_their_known_values() -> None:
    one, other = torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 1, 3, 3])
    fit, general = overlaps(one, other)
    assert float(fit) == pytest.approx(1 / 7) and float(general) == pytest.approx(1 / 7 - 2 / 9)
    apart = overlaps(one, torch.tensor([4.0, 0, 6, 2]))
    assert (float(apart[0]), float(apart[1])) == (0, pytest.approx(-1 / 3))
    assert [float(value) for value in overlaps(one, one)] == [1, 1]


def test_the_focal_loss_of_even_chances_is_known() -> None:
    logits, targets = torch.zeros(3), torch.tensor([1.0, 0.0, 0.0])
    assert float(focal_loss(logits, targets)) == pytest.approx((0.25 + 2 * 0.75) * 0.25 * np.log(2))


def test_cells_answer_for_the_smallest_box_around_their_middle() -> None:
    centres = network().centres(6, 8, torch.device("cpu"))  # stride 4
    assert centres.shape == (48, 2) and centres[9].tolist() == [6, 6]
    boxes = torch.tensor([[[0.0, 0, 32, 24], [8, 8, 16, 16], [25.0, 1, 26, 2], [3, 3, 9, 9]]])
    chosen = responsible(centres, boxes, torch.tensor([[0, 1, 0, -1]]), 4, 1.5)[0].view(6, 8)
    assert chosen[2:4, 2:4].tolist() == [[1, 1], [1, 1]], "all four cells in the small box"
    assert chosen[0, 6] == 2, "a box without the middle of a cell in it has the cell that it lies in"
    assert sorted(set(chosen.flatten().tolist())) == [-1, 0, 1, 2], "what has the label -1 is no box"
    assert (chosen == 0).nonzero().tolist() == [[2, 4], [3, 4]], "of the large box two near its middle are left"
    everywhere = responsible(centres, boxes[:, :1], torch.tensor([[0]]), 4, 8.0)
    assert (everywhere == 0).all()


@pytest.mark.parametrize("family", ["cnn", "rnn"])
@pytest.mark.parametrize("size", [(24, 32), (23, 29)])
def test_every_cell_answers_whatever_the_stride(family: str, size: tuple[int, int]) -> None:
    model = network(family)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    cells = -(-size[0] // model.stride) * -(-size[1] // model.stride)
    batch = {"images": images, "boxes": torch.tensor([[[2.0, 2, 9, 9]]] * 2), "labels": torch.tensor([[1], [-1]])}
    output = TASK.output(model, batch)
    assert output.shape == (2, cells, 7)
    assert torch.isfinite(TASK.loss(model, output, batch))
    assert torch.allclose(output[..., :2].sigmoid(), torch.tensor(0.01), atol=0.01), "a new network is sure of nothing"
    assert (output[..., 5:] > output[..., 3:5]).all()
    assert TASK.scores(output, batch, CARD).tolist() == [0, 1]


def test_without_augmentation_pictures_and_boxes_stay_as_they_are() -> None:
    batch = some_batch()
    after = TASK.augment(network(), batch)
    assert all(torch.equal(after[name], batch[name]) for name in batch)


def some_batch(count: int = 16) -> dict[str, torch.Tensor]:
    """Pictures that are black but for one white box each."""
    generator = np.random.default_rng(0)
    images, boxes = np.zeros((count, 3, 24, 32), np.uint8), np.zeros((count, 2, 4), np.float32)
    for row in range(count):
        left, top = generator.integers(6, 16), generator.integers(6, 10)
        boxes[row, 0] = [left, top, left + 8, top + 6]
        images[row, :, top : top + 6, left : left + 8] = 255
    labels = torch.tensor([[1, -1]] * count)
    return {"images": torch.from_numpy(images), "boxes": torch.from_numpy(boxes), "labels": labels}


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": True},
        {"upside_down": True},
        {"shift": 5},
        {"zoom": 0.4},
        {"flip": True, "upside_down": True, "shift": 3, "zoom": 0.3},
    ],
)
def test_boxes_move_with_what_is_in_them(changes: dict[str, Any]) -> None:
    batch, model = some_batch(), network(**changes)
    torch.manual_seed(1)
    after = TASK.augment(model, batch)
    assert not torch.equal(after["boxes"], batch["boxes"]) and torch.equal(after["labels"], batch["labels"])
    for image, box in zip(after["images"], after["boxes"][:, 0].tolist(), strict=True):
        rows, columns = (image[0] == 255).nonzero().T
        seen = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        assert seen == pytest.approx(box, abs=0.01 if "zoom" not in changes else 0.51)
    torch.manual_seed(1)
    assert all(torch.equal(value, after[name]) for name, value in TASK.augment(model, batch).items())


def test_what_was_outside_has_the_mean_of_train_and_boxes_that_leave_are_no_more() -> None:
    batch, model = some_batch(), network(shift=20)
    torch.manual_seed(0)
    after = TASK.augment(model, batch)
    colours = {tuple(colour) for colour in after["images"].permute(0, 2, 3, 1).flatten(0, 2).tolist()}
    assert colours <= {(0, 0, 0), (255, 255, 255), (128, 102, 76)} and len(colours) == 3
    gone = after["labels"][:, 0] < 0
    assert 0 < gone.sum() < 16
    white = (after["images"][:, 0] == 255).sum(dim=(1, 2))
    assert (white[gone] <= 0.4 * 48).all() and (white[~gone] > 0.4 * 48).all()
    assert (after["boxes"] >= 0).all() and (after["boxes"][..., 2] <= 32).all()


def test_brightness_scales_each_picture_by_its_own_factor() -> None:
    batch, model = some_batch(), network(brightness=0.5)
    batch["images"] = torch.full_like(batch["images"], 100)
    after = TASK.augment(model, batch)["images"]
    shades = after[:, 0, 0, 0]
    assert (after == shades.view(-1, 1, 1, 1)).all() and len(shades.unique()) == 16
    assert float(shades.min()) >= 50 and float(shades.max()) <= 150


def test_sampled_pictures_keep_each_pixel_in_its_place() -> None:
    image = torch.arange(12).view(1, 1, 3, 4).to(torch.uint8)
    taken = sampled(image, torch.tensor([[2, 0, -1]]), torch.tensor([[1, 1, 3, 4]]), torch.full((1, 1, 1, 1), 77.0))
    assert taken[0, 0].tolist() == [[9, 9, 11, 77], [1, 1, 3, 77], [77, 77, 77, 77]]


def picture(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    Image.fromarray(noise).save(stream, format="PNG")
    return stream.getvalue()


def test_answers_are_in_pixels_of_the_picture_that_was_sent() -> None:
    model = network().eval()
    torch.nn.init.constant_(model.answers.bias, 1.0)
    request = pd.DataFrame({"image": [picture(32, 24), picture(64, 48), picture(100, 30)]})
    answer = TASK.answer(model, request, CARD)
    assert list(answer) == ["image", "class", "confidence", "left", "top", "right", "bottom"]
    assert set(answer["image"]) == {0, 1, 2} and set(answer["class"]) <= {"a", "b"}
    for row, (width, height) in enumerate([(32, 24), (64, 48), (100, 30)]):
        own = answer[answer["image"] == row]
        assert len(own) == 10 and own["confidence"].is_monotonic_decreasing
        assert (own["left"] >= 0).all() and (own["right"] <= width + 1e-9).all() and own["right"].max() > 0.6 * width
        assert (own["top"] >= 0).all() and (own["bottom"] <= height + 1e-9).all() and own["bottom"].max() > 0.6 * height


def test_a_picture_of_a_table_goes_through_its_file_unchanged() -> None:
    images = torch.zeros(1, 3, 24, 32, dtype=torch.uint8)
    images[:, :, :16] = torch.randint(0, 256, (1, 3, 16, 32), dtype=torch.uint8)
    table = {"images": images, "sizes": torch.tensor([[50, 100]])}
    from pipeline.tasks.object_detection.detections import decoded_pictures

    found = decoded_pictures(pd.DataFrame({"image": encoded_pictures(table, CARD)}), CARD)
    assert torch.equal(found["images"], images) and found["sizes"].tolist() == [[16, 32]]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pd.DataFrame({"picture": [b""]}), r"found the columns \['picture'\]; expected one column `image`"),
        (pd.DataFrame({"image": ["text"]}), "row 0: found str; expected the bytes of an image file"),
        (pd.DataFrame({"image": [picture(4, 4), b""]}), "row 1: the picture: not readable as an image"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_in_one_sentence(request_: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TASK.answer(network().eval(), request_, CARD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": 0}, r"settings\.confidence: found 0; allowed: between 0 and 1"),
        ({"overlap": 1.5}, r"settings\.overlap: found 1\.5; allowed"),
        ({"most_boxes": 0}, r"settings\.most_boxes: found 0; allowed: a whole number from 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectDetection({**SETTINGS, **changes})


def test_the_curve_of_a_class_ends_at_its_recall() -> None:
    found, truth = scene()
    table = prediction_table(found, truth, CARD)
    recall, precision = curve(table, 0, 0.5)
    assert len(recall) == (table["predicted"] == 0).sum() and (np.diff(recall) >= 0).all()
    assert recall[-1] == table[table["predicted"] == 0]["matched_50"].sum() / (truth["labels"] == 0).sum()
    assert precision[0] in (0, 1) and ((precision > 0) & (precision <= 1)).any()


def test_the_baseline_finds_what_stands_out() -> None:
    generator = np.random.default_rng(0)
    tables = {}
    for split, count in (("train", 30), ("validation", 8), ("test", 8)):
        batch = some_batch(count)
        colours = generator.integers(0, 2, count)
        batch["labels"][:, 0] = torch.from_numpy(colours)
        dim = torch.from_numpy(np.where(colours, 150, 255))[:, None, None]
        batch["images"][:, 0] = torch.minimum(batch["images"][:, 0], dim.to(torch.uint8))
        tables[split] = {**batch, "sizes": torch.tensor([[24, 32]] * count)}
    found = TASK.baselines(tables, CARD, 0)["components"]["test"]
    assert TASK.metrics(found, CARD)["ap50"] > 0.95
