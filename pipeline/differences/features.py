"""Do convolutions build a hierarchy of features, and do recurrent states store the past?

Claim: layers of a convolutional network find parts first and objects later; a recurrent state stores what was read.

Data: a grammar of two levels. Four parts are short words, four objects are pairs of parts in order with a gap of noise
between; the network names the object at the last step. Either part alone leaves two of the four objects open, so that
a layer that sees one part at a time names every other object.

Networks: a causal convolutional network of four levels that sees the whole sequence and a GRU of four layers with as
many parameters, and so as many multiply-adds.

Statistics, both fixed before anything was run:

* hierarchy: linear probes of every layer name which of the four parts ends at a step (in every other sequence the
  first, in the others the second) and which object ends at one, on sequences that they were not fitted on, less what
  probes of shuffled labels reach. The slope over the layers (least squares, per layer) of the object's probe minus that
  of the part's; convolutional minus recurrent, above 0.
* storage: R² with which a linear map finds the letter of k steps ago in the last layer, averaged over k; recurrent
  minus convolutional, above 0.

The claim holds where both do. Where the convolutional slope is not ahead and both families have a slope of their own,
the hierarchy comes with layers, whatever they are: it depends on depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.differences import networks
from pipeline.differences.networks import Design, Reader, cnn, made, matched, rnn, told
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Arm, Common, Count, Measured
from pipeline.differences.result import Result
from pipeline.differences.sequences import two_levels
from pipeline.differences.verdicts import HOLDS, NOT_DECIDED, Effect, all_of, depends_on, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "Convolutional layers build a hierarchy of features, recurrent states store the past."
OBJECTS, PARTS, LAYERS = 4, 4, 4
DEPTH = depends_on("depth")
RIDGE = 1e-2


class Settings(Common):
    length: Count  # T
    part: Count  # letters of a part
    gap: list[Count]  # shortest and longest
    letters: Count
    back: Count  # k goes from 0 to this
    examples: Count  # sequences that probes are fitted on, and as many on which they are scored


def designs(settings: Settings) -> dict[str, Design]:
    deep = cnn("resnet", width=16, depth=LAYERS, kernel_size=3)
    target = networks.parameter_count(made(0, deep, settings.letters, OBJECTS))
    gru = matched(lambda hidden: rnn("gru", hidden=hidden, layers=LAYERS), target, settings.letters, OBJECTS)
    return {"cnn": deep, "gru": gru}


def arms(settings: Settings) -> dict[str, Arm]:
    return {name: Arm(design) for name, design in designs(settings).items()}


def measure(design: Design, seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    """Measures the accuracy of the network, and where it counts the probes of its layers."""
    network = made(seed, design, settings.letters, OBJECTS)
    draw = generator(seed, "train")
    train(network, lambda: sequences(draw, settings.batch, settings), loss, steps=settings.steps, rate=rate)
    x, kind, parts, ends = sequences(generator(seed, "probes"), 2 * settings.examples, settings)
    with torch.inference_mode():
        layers = layers_of(network, x)
        accuracy = float((network(x).argmax(1) == kind).float().mean())
    figures: dict[str, Any] = {"validation": accuracy}
    if counts:
        shuffle = torch.randperm(len(x), generator=generator(seed, "shuffled"))
        figures |= probed(layers, kind, parts, ends, shuffle)
        figures["stored"] = stored(layers[-1], x, settings.back)
    return figures


def sequences(draw: torch.Generator, batch: int, settings: Settings) -> tuple[Tensor, ...]:
    shortest, longest = settings.gap
    return two_levels(
        draw, batch, length=settings.length, part=settings.part, gap=(shortest, longest), letters=settings.letters
    )


def loss(network: Reader, batch: tuple[Tensor, ...]) -> Tensor:
    return functional.cross_entropy(network(batch[0]), batch[1])


def layers_of(network: Reader, x: Tensor) -> list[Tensor]:
    """Returns the features (B, F, T) that every layer makes of (B, C, T)."""
    encoder: Any = network.encoder
    grid = hasattr(encoder, "levels")
    kept: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, made: kept.append(made.squeeze(2) if grid else made.transpose(1, 2)))
        for layer in (encoder.levels if grid else encoder.scans)
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return kept


def probed(
    layers: Sequence[Tensor], kind: Tensor, parts: Tensor, ends: Tensor, shuffle: Tensor
) -> dict[str, list[float]]:
    """Probes every layer (B, F, T) for part and object, each where it ends."""
    rows = torch.arange(len(kind))
    place = rows % 2  # which of its two parts a sequence is asked for
    part, end = parts[rows, place], ends[rows, place]
    return {
        "part": [probe(layer[rows, :, end], part, shuffle, PARTS) for layer in layers],
        "object": [probe(layer[rows, :, ends[:, 1]], kind, shuffle, OBJECTS) for layer in layers],
    }


def probe(features: Tensor, labels: Tensor, shuffle: Tensor, classes: int) -> float:
    """Scores a linear probe of (N, F), fitted on one half, on the other: accuracy less that of shuffled labels."""
    accuracies = []
    for truth in (labels, labels[shuffle]):
        answers = regressed(features, functional.one_hot(truth, classes).float()).argmax(1)
        half = len(truth) // 2
        accuracies.append(float((answers == truth[half:]).float().mean()))
    return accuracies[0] - accuracies[1]


def regressed(features: Tensor, targets: Tensor) -> Tensor:
    """Fits a ridge regression of (N, K) on (N, F) to the first half of the rows and answers (N / 2, K) the others."""
    half = len(features) // 2
    mean, spread = features[:half].mean(0), features[:half].std(0).clamp_min(1e-6)
    x = functional.pad((features - mean) / spread, (0, 1), value=1.0).double()
    known = x[:half]
    penalty = RIDGE * half * torch.eye(x.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(known.T @ known + penalty, known.T @ targets[:half].double())
    answers: Tensor = x[half:] @ weights
    return answers


def stored(features: Tensor, x: Tensor, back: int) -> list[float]:
    """Computes R², at least 0, of the letter 0 to `back` steps ago from the features (B, F, T) of the last step."""
    state, half = features[:, :, -1], len(x) // 2
    scores = []
    for k in range(back + 1):
        letter = x[:, :, x.shape[2] - 1 - k]
        error = (regressed(state, letter) - letter[half:]).square().sum()
        spread = (letter[half:] - letter[:half].mean(0)).square().sum()
        scores.append(max(0.0, 1 - float(error / spread)))
    return scores


def slope(values: Sequence[float]) -> float:
    """Fits the slope over the layers by least squares, per layer."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by both statistics, see above."""
    slopes = {name: _slopes(measured, name) for name in ("cnn", "gru")}
    areas = {name: [float(np.mean(value["stored"])) for value in measured.values[name]] for name in ("cnn", "gru")}
    unit = "share a layer"
    effects = {
        "hierarchy": Effect(
            "slope over the layers of object minus part, cnn − gru", unit, _minus(slopes["cnn"], slopes["gru"])
        ),
        "storage": Effect(
            f"R² of the last {settings.back + 1} letters in the state, gru − cnn",
            "R²",
            _minus(areas["gru"], areas["cnn"]),
        ),
        "hierarchy of the cnn": Effect("slope over the layers of object minus part, cnn", unit, tuple(slopes["cnn"])),
        "hierarchy of the gru": Effect("slope over the layers of object minus part, gru", unit, tuple(slopes["gru"])),
    }
    verdict = all_of(effects["hierarchy"].verdict, effects["storage"].verdict)
    own = [effects[f"hierarchy of the {name}"].verdict == HOLDS for name in ("cnn", "gru")]
    if effects["hierarchy"].verdict != HOLDS and all(own):
        verdict = DEPTH
    made_of, example = designs(settings), torch.zeros(1, settings.letters, settings.length)
    return Result(
        verdict=verdict,
        effects=effects,
        shown=_shown(effects),
        advice=_advice(verdict),
        needed="More steps, until both networks name nearly all objects (full setting)."
        if verdict == NOT_DECIDED
        else "",
        told={name: told(design, settings.length) for name, design in made_of.items()},
        sizes={
            name: networks.sizes(made(0, design, settings.letters, OBJECTS), example)
            for name, design in made_of.items()
        },
        curves={
            name: {
                "part": [value["part"] for value in measured.values[name]],
                "object": [value["object"] for value in measured.values[name]],
                "stored": [value["stored"] for value in measured.values[name]],
                "accuracy": measured.of(name, "validation"),
            }
            for name in made_of
        },
    )


def _slopes(measured: Measured, name: str) -> list[float]:
    return [slope(np.subtract(value["object"], value["part"]).tolist()) for value in measured.values[name]]


def _minus(first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(first, second, strict=True))


def _shown(effects: Mapping[str, Effect]) -> str:
    def quoted(name: str) -> str:
        low, high = interval(effects[name].values, 0.995)
        return f"{effects[name].mean:+.3f} ({low:+.3f} to {high:+.3f})"

    return (
        f"From layer to layer the object gains {quoted('hierarchy of the cnn')} on its parts in the convolutional "
        f"network and {quoted('hierarchy of the gru')} in the GRU; the GRU's last layer is {quoted('storage')} "
        "apart in the R² with which past letters can be read from it."
    )


def _advice(verdict: str) -> str:
    if verdict == HOLDS:
        return "Stack convolutions for features of features; read raw history from a recurrent state."
    if verdict == DEPTH:
        return (
            "A hierarchy comes with layers of either family: where parts make wholes, give a recurrent network depth."
        )
    return "" if verdict == NOT_DECIDED else "Do not choose a family for its features: look at what its layers hold."


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws heat maps of the probes by layer, and what the states store."""
    from pipeline.differences.drawing import FAMILY, band, figure

    curves = result["curves"]
    drawn = figure(7.4, 3.4)
    panels = drawn.subplots(1, 3, width_ratios=[1, 1, 1.5])
    for axes, name in zip(panels, ("cnn", "gru"), strict=False):
        table = np.array([np.mean(curves[name][kind], axis=0) for kind in ("part", "object")]).T
        axes.imshow(table, cmap="cividis", vmin=0, vmax=0.75, aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.45 else "black")
        axes.set_xticks([0, 1], ["part", "object"])
        axes.set_yticks(range(len(table)), [str(layer + 1) for layer in range(len(table))])
        axes.set(title=f"{name}: probes", ylabel="layer")
    for name, style in (("cnn", "-"), ("gru", "--")):
        colour = FAMILY["cnn" if name == "cnn" else "rnn"]
        rows = curves[name]["stored"]
        band(panels[-1], list(range(len(rows[0]))), rows, name, {"color": colour, "linestyle": style})
    panels[-1].set(xlabel="letter k steps ago", ylabel="R² from the last layer", title="What the state stores")
    panels[-1].legend(frameon=False, fontsize=8)
    return drawn
