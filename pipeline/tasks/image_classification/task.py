"""Image classification: one label for a picture, on features pooled over the grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Batch, Card, Prepared, Table
from pipeline.models.encoder import check_ranges
from pipeline.tasks.image_classification.network import Classifier
from pipeline.tasks.task import ClassificationTask, Encoders

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

LARGE = 8_000  # training images above which a kernel machine takes minutes, and gets what follows
SAMPLE, COMPONENTS = 20_000, 64  # images out of large sets, and principal components of them


class ImageClassification(ClassificationTask):
    dimensions = 2
    reads = "picture"
    SETTINGS: ClassVar = {}
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {"shift": (0, 1024), "label_smoothing": (0.0, 0.9)}

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.data.images import prepare_images

        return prepare_images(dict(parts), split, seed)

    def examples(self, table: Table, card: Card) -> Batch:
        return {"images": table["images"], "labels": table["labels"]}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, shift: int, flip: bool, label_smoothing: float
    ) -> Classifier:
        check_ranges(self.RANGES, shift=shift, label_smoothing=label_smoothing)
        if shift >= min(card["height"], card["width"]):
            raise ValueError(
                f"shift: found {shift}; allowed: pixels from 0 to less than the height and width of the images"
            )
        encoder = encoders(card["channels"])
        return Classifier(encoder, card, shift=shift, flip=flip, label_smoothing=label_smoothing)

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        assert isinstance(network, Classifier)
        images = batch["images"]
        if network.flip:
            flipped = torch.rand(len(images), device=images.device) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        if network.shift:
            images = shifted(images, network.shift)
        return {**batch, "images": images}

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        logits: Tensor = network(batch["images"])
        return logits

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        from pipeline.tasks.classification import prediction_table

        logits = torch.cat([network(images) for images in torch.split(examples["images"], 512)])
        return prediction_table(logits.softmax(1).double().cpu().numpy(), examples["labels"].cpu().numpy())

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.classification import calibrated

        pixels = {name: table["images"].flatten(1).numpy() / card["maximum"] for name, table in tables.items()}
        labels = {name: table["labels"].numpy() for name, table in tables.items()}
        if len(labels["train"]) > LARGE:
            pixels, labels = _reduced(pixels, labels, seed)
        return {"svc": calibrated(_svc(pixels, labels, seed), labels)}

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.image_classification.plots import worst_mistakes
        from pipeline.tasks.plots import confusion_matrix

        return [
            confusion_matrix(predictions, card["classes"], folder / "confusion.png", title),
            worst_mistakes(predictions, table["images"].numpy(), card, folder / "mistakes.png", title),
        ]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.formats.image import png

        return pd.DataFrame({"image": [png(image, card["maximum"]) for image in table["images"][:3].numpy()]})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.classification import class_answer, probability_columns
        from pipeline.tasks.requests import files_of

        images = files_of(request, "image", lambda file: decoded(file, card))
        shape = (len(images), card["channels"], card["height"], card["width"])
        table = {
            "images": torch.from_numpy(np.array(images, dtype=np.uint8).reshape(shape)),
            "labels": torch.full((len(images),), -1),
        }
        if not images:
            return pd.DataFrame({name: [] for name in ("class", "confidence", *probability_columns(card))})
        return class_answer(self.predict(network, table, card), card)

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.formats.image import png
        from pipeline.tasks.probes import BATCHES, image_probes

        images = table["images"][: max(BATCHES)].numpy()
        return image_probes([png(image, card["maximum"]) for image in images], predictions, card)


def shifted(images: Tensor, most: int) -> Tensor:
    """Moves every picture of (B, C, H, W) by up to `most` pixels each way, black where nothing was."""
    height, width = images.shape[2:]
    padded = functional.pad(images, (most, most, most, most))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2m+1, 2m+1, H, W), a view
    down, right = torch.randint(0, 2 * most + 1, (2, len(images)), device=images.device)
    return windows[torch.arange(len(images), device=images.device), :, down, right]


def decoded(file: IO[bytes], card: Card) -> np.ndarray:
    """Reads an image file as the training data were read: (C, H, W) uint8 in their scale. Raises ValueError."""
    from pipeline.formats.image import read_image

    mode = "L" if card["channels"] == 1 else "RGB"
    pixels = read_image(file, height=card["height"], width=card["width"], mode=mode)
    values: np.ndarray = np.rint(pixels * (card["maximum"] / 255)).astype(np.uint8)
    return values


def _svc(pixels: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Returns scores of a support vector machine; its two parameters are picked on validation."""
    from sklearn.svm import SVC

    def fitted(penalty: float, gamma: float) -> SVC:
        return SVC(C=penalty, gamma=gamma, random_state=seed).fit(pixels["train"], labels["train"])

    scale = 1 / (pixels["train"].shape[1] * pixels["train"].var())
    grid = [fitted(penalty, scale * factor) for penalty in (1.0, 10.0) for factor in (0.5, 1.0, 2.0)]
    best = max(grid, key=lambda model: model.score(pixels["validation"], labels["validation"]))
    scores = {}
    for split in ("validation", "test"):
        decision = best.decision_function(pixels[split])
        scores[split] = decision if decision.ndim == 2 else np.stack([-decision, decision], axis=1) / 2
    return scores


def _reduced(
    pixels: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns principal components of all images, and a sample of those of train in which no class is missing."""
    from sklearn.decomposition import PCA

    _, one_of_each = np.unique(labels["train"], return_index=True)
    drawn = np.random.default_rng(seed).permutation(len(labels["train"]))[:SAMPLE]
    chosen = np.union1d(one_of_each, drawn)
    train = pixels["train"][chosen]
    components = PCA(min(COMPONENTS, *train.shape), svd_solver="randomized", random_state=seed).fit(train)
    reduced = {name: components.transform(values) for name, values in {**pixels, "train": train}.items()}
    return reduced, {**labels, "train": labels["train"][chosen]}
