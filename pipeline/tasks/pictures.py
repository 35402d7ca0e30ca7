"""Pictures of predictions. Drawn without a display and without dates in the files, so that the same predictions give
the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.data.tables import Table
from pipeline.tasks.task import Card

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, BLUE, ORANGE, GREY = "#1f2933", "#2563a8", "#c8641e", "#9aa5b1"
MISTAKES = 24
MOST_CLASSES_WITH_NUMBERS = 20
MOST_CLASSES_WITH_SERIES, MOST_SERIES = 24, 20
WARM = ("#c8641e", "#b3261e", "#8a4fa3", "#d99a00")  # of mistakes
BOX_COLOURS = (BLUE, ORANGE, "#3b8a57", "#8a4fa3", "#b08900", "#b3263a", "#1d7f8c", "#6b4226")
SHOWN = 0.4  # confidence from which a box is drawn


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, independent of pyplot and of the user's matplotlibrc."""
    import matplotlib
    from matplotlib.figure import Figure as NewFigure

    matplotlib.rcdefaults()
    matplotlib.rcParams.update({
        "font.size": 9, "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK, "axes.spines.top": False,
        "axes.spines.right": False, "xtick.color": INK, "ytick.color": INK, "axes.titlesize": 10, "svg.hashsalt": "0",
    })  # fmt: skip
    return NewFigure(figsize=(width, height), layout="constrained")


def save(drawn: Figure, path: Path) -> Path:
    """Writes a PNG without metadata that would change from version to version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=110, metadata={"Software": None})
    return path


def confusion_matrix(predictions: pd.DataFrame, classes: list[str], path: Path, title: str) -> Path:
    """How often each class was taken for which: shares of the true class as colour, counts as numbers."""
    count = len(classes)
    matrix = np.zeros((count, count), dtype=int)
    np.add.at(matrix, (predictions["label"].to_numpy(), predictions["predicted"].to_numpy()), 1)
    side = min(2.2 + 0.38 * count, 10)
    drawn = figure(side + 0.6, side)
    axes = drawn.add_subplot()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if count <= MOST_CLASSES_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            ink = "white" if shares[row, column] > 0.6 else INK
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(
        range(count),
        [str(name) for name in classes],
        rotation=45 if count > 6 else 0,
        ha="right" if count > 6 else "center",
    )
    axes.set_yticks(range(count), [str(name) for name in classes])
    axes.set(xlabel="predicted", ylabel="true", title=title)
    return save(drawn, path)


def worst_mistakes(predictions: pd.DataFrame, images: np.ndarray, card: Card, path: Path, title: str) -> Path:
    """The mistakes that the model was surest of."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    worst = wrong.sort_values(["confidence", "example"], ascending=[False, True]).head(MISTAKES)
    columns = 8
    rows = max(-(-len(worst) // columns), 1)
    drawn = figure(columns * 1.15, rows * 1.55 + 0.4)
    drawn.suptitle(
        f"{title}: {len(wrong)} of {len(predictions)} wrong" + (", the surest first" if len(wrong) > 1 else ""),
        fontsize=10,
    )
    classes = [str(name) for name in card["classes"]]
    for place, (example, label, predicted, confidence) in enumerate(
        zip(worst["example"], worst["label"], worst["predicted"], worst["confidence"], strict=True)
    ):
        axes = drawn.add_subplot(rows, columns, place + 1)
        picture = images[example].transpose(1, 2, 0)
        axes.imshow(picture.squeeze(), cmap="gray_r" if card["channels"] == 1 else None, vmin=0, vmax=card["maximum"])
        axes.set_title(f"{classes[label]} as {classes[predicted]}\n{confidence:.0%}", fontsize=7)
        axes.axis("off")
    return save(drawn, path)


def translated_sentences(predictions: pd.DataFrame, scores: np.ndarray, path: Path, title: str) -> Path:
    """Sentences from the worst to the best translation: source, what was found and what was right."""
    order = np.argsort(scores, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, 10).astype(int))]
    drawn = figure(9.5, 0.4 + 0.72 * len(shown))
    axes = drawn.add_subplot()
    axes.axis("off")
    axes.set_title(f"{title}: sentences from the worst to the best", loc="left")
    axes.set_ylim(len(shown), 0)
    axes.set_xlim(0, 1)
    for row, index in enumerate(shown):
        entry = predictions.iloc[index]
        axes.text(0, row + 0.2, f"{scores[index]:.0f}", color=GREY, va="center")
        for line, (name, ink) in enumerate((("source", GREY), ("translation", BLUE), ("truth", INK))):
            axes.text(0.05, row + 0.2 + 0.27 * line, _cut(entry[name]), color=ink, va="center", parse_math=False)
    return save(drawn, path)


def score_by_length(predictions: pd.DataFrame, scores: np.ndarray, path: Path, title: str) -> Path:
    """Mean sentence score of quarters of the sentences, from the shortest to the longest source."""
    lengths = np.array([len(text.split()) for text in predictions["source"]])
    parts = [part for part in np.array_split(np.argsort(lengths, kind="stable"), 4) if len(part)]
    drawn = figure(5.4, 3.0)
    axes = drawn.add_subplot()
    axes.bar([f"{lengths[part].min()} to {lengths[part].max()}" for part in parts],
             [scores[part].mean() for part in parts], color=BLUE)  # fmt: skip
    axes.set_xlabel("words of the source")
    axes.set_ylabel("mean BLEU of a sentence")
    axes.set_title(title, loc="left", fontsize=8)
    return save(drawn, path)


def _cut(text: str, most: int = 110) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def series_by_class(predictions: pd.DataFrame, series: list[np.ndarray], card: Card, path: Path, title: str) -> Path:
    """The first channel (T,) of test series, class by class: some that were recognised, and the mistakes in colour."""
    classes = [str(name) for name in card["classes"]][:MOST_CLASSES_WITH_SERIES]
    columns = min(len(classes), 4)
    rows = -(-len(classes) // columns)
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    channel = f", {card['columns'][0]} of {len(card['columns'])}" if len(card["columns"]) > 1 else ""
    drawn = figure(max(columns * 2.6, 5.2), rows * 1.9 + 0.5)
    drawn.suptitle(f"{title}: {len(wrong)} of {len(predictions)} wrong{channel}", fontsize=10)
    for place, name in enumerate(classes):
        axes = drawn.add_subplot(rows, columns, place + 1)
        right = predictions[(predictions["label"] == place) & (predictions["predicted"] == place)]
        for example in right["example"].head(MOST_SERIES):
            axes.plot(series[example], color=GREY, linewidth=0.6, alpha=0.6)
        mistakes = wrong[wrong["label"] == place].sort_values(["confidence", "example"], ascending=[False, True])
        for colour, example, predicted in zip(WARM, mistakes["example"], mistakes["predicted"], strict=False):
            axes.plot(series[example], color=colour, linewidth=1, label=f"as {card['classes'][predicted]}")
        total = len(right) + len(mistakes)
        axes.set_title(f"{name}: {len(mistakes)} of {total} wrong" if total else f"{name}: none", fontsize=8)
        axes.tick_params(labelsize=7)
        if len(mistakes):
            axes.legend(fontsize=6, frameon=False)
    return save(drawn, path)


def boxes_on_pictures(predictions: pd.DataFrame, table: Table, card: Card, path: Path, title: str) -> Path:
    """Nine pictures, evenly spread over the examples: true boxes dashed, found ones in the colour of their class."""
    from matplotlib.patches import Rectangle

    examples = np.unique(np.linspace(0, len(table["images"]) - 1, 9).astype(int)).tolist()
    sure = predictions[(predictions["confidence"] >= SHOWN) & (predictions["predicted"] >= 0)]
    drawn = figure(11, 11 * card["height"] / card["width"] + 0.6)
    drawn.suptitle(f"{title}: boxes of a confidence of at least {SHOWN:g}; dashed: the truth", fontsize=10)
    for place, example in enumerate(examples):
        axes = drawn.add_subplot(3, 3, place + 1)
        picture = table["images"][example].numpy().transpose(1, 2, 0)
        axes.imshow(picture.squeeze(), cmap="gray" if card["channels"] == 1 else None, vmin=0, vmax=card["maximum"])
        labels, boxes = table["labels"][example].numpy(), table["boxes"][example].numpy()
        found = sure[sure["example"] == example]
        sides = found[["left", "top", "right", "bottom"]].to_numpy()
        for (left, top, right, bottom), colour, dash in [
            *((box, INK, "--") for box in boxes[labels >= 0]),
            *((box, _colour(label), "-") for box, label in zip(sides, found["predicted"], strict=True)),
        ]:
            size = (right - left, bottom - top)
            axes.add_patch(Rectangle((left, top), *size, fill=False, linewidth=0.9, edgecolor=colour, linestyle=dash))
        axes.set_title(f"test picture {example}: {len(found)} found, {(labels >= 0).sum()} true", fontsize=8)
        axes.axis("off")
    names = [str(name) for name in card["classes"]][:MOST_CLASSES_WITH_NUMBERS]
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=_colour(label)) for label in range(len(names))]
    drawn.legend(handles, names, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return save(drawn, path)


def precision_recall(predictions: pd.DataFrame, card: Card, path: Path, title: str) -> Path:
    """Precision over recall of every class, at overlaps (IoU) of 0.5 and 0.75."""
    from pipeline.tasks.average_precision import curve

    drawn = figure(9, 3.4)
    for axes, threshold in zip(drawn.subplots(1, 2), (0.5, 0.75), strict=True):
        for label, name in enumerate(card["classes"]):
            recall, precision = curve(predictions, label, threshold)
            axes.plot(recall, precision, color=_colour(label), linewidth=1.2, label=str(name))
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
        axes.set_title(f"{title}, overlap {threshold:g}")
    if len(card["classes"]) <= MOST_CLASSES_WITH_NUMBERS:
        drawn.axes[0].legend(fontsize=7, frameon=False, loc="lower left")
    return save(drawn, path)


def _colour(label: int) -> str:
    return BOX_COLOURS[int(label) % len(BOX_COLOURS)]
