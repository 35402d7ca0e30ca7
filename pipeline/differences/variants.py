"""Do the variants of either family do what they are named for?

Claim: lstm and gru mend the plain rnn; vgg, googlenet and resnet suit different pictures.

(a) No training: accuracy at the lags that count, from the result of temporal_dependency, of lstm and gru minus the rnn,
seed by seed, with either initialisation. Under an initialisation the claim holds where both are ahead by more than
`margin` (.05) and fails where one is not; where the initialisations are decided and disagree, it depends on them.

(b) Data: handwritten digits at random places of a canvas. Tasks: the class of the digit, or its place (row and column
of its corner, five of each; accuracy is the mean of both). Networks: three blocks with equal multiply-adds, and one and
the same head of ten outputs over the mean of all positions. Statistic: of every pair of blocks, by how much more the
one is ahead of the other in naming the class than in naming the place. The largest of the three interactions has to be
beyond `interaction_margin` (one point) in either direction, tested by permuting the labels of the tasks within seeds,
see `interactions`: exactly, which takes nine seeds or more. It fails where all three are inside the margin.

The claim holds where (a) and (b) do and fails where one of them does; it depends on the initialisation where (a) does
and (b) holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from pipeline.differences import networks
from pipeline.differences.canvas import SIDE, batch_of, placed, test_digits, train_digits
from pipeline.differences.networks import Design, Reader, cnn, made, matched
from pipeline.differences.of_variants.interactions import (
    FEWEST,
    MOST,
    Interaction,
    found_by_chance,
    interactions,
    largest_verdict,
)
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Arm, Common, Count, Measured
from pipeline.differences.recorded import Recorded
from pipeline.differences.recorded import temporal_dependency as recorded
from pipeline.differences.result import Result, control
from pipeline.differences.verdicts import (
    DECIDING,
    DOES_NOT_HOLD,
    HOLDS,
    NOT_DECIDED,
    Effect,
    all_of,
    by_condition,
    depends_on,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "LSTM and GRU mend the plain RNN; VGG, GoogLeNet and ResNet suit different pictures."
BLOCKS = ("vgg", "googlenet", "resnet")
TASKS = ("class", "place")
INITIALISATIONS = {"ours": "", "PyTorch's": ", PyTorch's start"}  # and how the arms of temporal_dependency name them
CEILING = 0.99
PERMUTED = 1000  # permutations of the labels of the control
PICTURES: Mapping[str, Any] = {"dimensions": 2, "causal": False, "read": "mean"}
PLACES = 5  # rows, and columns, in which a corner may lie
OUTPUTS = 2 * PLACES  # as many as there are digits
Batch = tuple[Tensor, Tensor, Tensor]  # canvases, classes, corners


class Settings(Common):
    """`margin` is that of (a); all others are of (b)."""

    seeds: Annotated[int, Field(ge=FEWEST, le=MOST)]
    depth: Count  # levels; each halves the picture
    places: Count  # of every test digit
    margin: float
    interaction_margin: float


@cache
def designs(depth: int) -> Mapping[str, Design]:
    """Describes the three blocks, with as many multiply-adds as the residual one of the least width."""
    example = torch.zeros(1, 1, SIDE, SIDE)

    def sized(block: str, width: int) -> Design:
        return cnn(block, width=width, depth=depth, kernel_size=3)

    target = networks.multiply_adds(made(0, sized("resnet", 16), 1, OUTPUTS, **PICTURES), example)
    return {
        block: matched(partial(sized, block), target, 1, OUTPUTS, example=example, **PICTURES)
        for block in BLOCKS
    }  # fmt: skip


def arms(settings: Settings) -> dict[str, Arm]:
    return {
        f"{block}, {task}": Arm({"design": dict(design), "task": task})
        for block, design in designs(settings.depth).items() for task in TASKS
    }  # fmt: skip


def measure(facts: Mapping[str, Any], seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    """Measures accuracy on test digits after one training."""
    network = made(seed, facts["design"], 1, OUTPUTS, **PICTURES)
    draw, digits = generator(seed, "train"), train_digits()
    loss = class_loss if facts["task"] == "class" else place_loss
    train(network, lambda: batch_of(draw, digits, settings.batch), loss, steps=settings.steps, rate=rate)
    return {"validation": accuracy(network, facts["task"], seed, settings)}


def class_loss(network: Reader, batch: Batch) -> Tensor:
    return functional.cross_entropy(network(batch[0]), batch[1])


def place_loss(network: Reader, batch: Batch) -> Tensor:
    """Averages over row and column."""
    rows, columns = torch.split(network(batch[0]), PLACES, 1)
    return (functional.cross_entropy(rows, batch[2][:, 0]) + functional.cross_entropy(columns, batch[2][:, 1])) / 2


@torch.inference_mode()
def accuracy(network: Reader, task: str, seed: int, settings: Settings) -> float:
    """Measures it on every test digit at some places, the same for all networks of a seed."""
    draw, (digits, classes) = generator(seed, "test"), test_digits()
    scores = []
    for _ in range(settings.places):
        pictures, corners = placed(draw, digits)
        scores.append(right(network(pictures), task, classes, corners))
    return float(torch.cat(scores).mean())


def right(answers: Tensor, task: str, classes: Tensor, corners: Tensor) -> Tensor:
    """Scores answers (B,) 0 or 1, for a place 1/2 where only its row or only its column was named."""
    if task == "class":
        return (answers.argmax(1) == classes).float()
    rows, columns = torch.split(answers, PLACES, 1)
    return (torch.stack([rows.argmax(1), columns.argmax(1)], 1) == corners).float().mean(1)


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by both parts."""
    known = recorded()
    cells = cell_effects(known, settings.margin)
    accuracies = {
        block: (measured.of(f"{block}, class", "validation"), measured.of(f"{block}, place", "validation"))
        for block in BLOCKS
    }  # fmt: skip
    pairs = interactions(accuracies, TASKS, settings.interaction_margin)
    recurrent, pictures = cells_verdict(cells), largest_verdict(list(pairs.values()))
    verdict = overall(recurrent, pictures)
    share = found_by_chance(accuracies, TASKS, settings.interaction_margin, PERMUTED)
    chance = 1 - DECIDING
    highest = chance + 3 * (chance * DECIDING / PERMUTED) ** 0.5
    names = [f"{cell}{suffix}" for suffix in INITIALISATIONS.values() for cell in ("rnn", "lstm", "gru")]
    return Result(
        verdict=verdict,
        effects={**cells, **pairs},
        shown=_shown(known, cells, recurrent, pairs, pictures),
        advice=_advice(recurrent, pictures),
        needed=_needed(recurrent, pictures) if verdict == NOT_DECIDED else "",
        told={**{name: known.told[name] for name in names}, **{block: "nothing (pictures)" for block in BLOCKS}},
        sizes={name: network_sizes(design) for name, design in designs(settings.depth).items()},
        controls={
            "permuted labels show no interaction": control(
                share, f"in at most {chance:.1%} of {PERMUTED} permutations, plus 3 standard errors", share <= highest
            )
        },
        curves={
            "long_lags": {name: list(known.long[name]) for name in names},
            "accuracy": {block: dict(zip(TASKS, values, strict=True)) for block, values in accuracies.items()},
            "cells": list(cells),
            "pairs": list(pairs),
        },
    )  # fmt: skip


def network_sizes(design: Design) -> dict[str, int]:
    return networks.sizes(made(0, design, 1, OUTPUTS, **PICTURES), torch.zeros(1, 1, SIDE, SIDE))


def cell_effects(known: Recorded, margin: float) -> dict[str, Effect]:
    """Compares lstm and gru with the rnn, under both initialisations."""
    return {
        f"{cell} − rnn, {start}": Effect(
            f"accuracy at lags from {known.budget['long']} on, {cell} − rnn, initialisation: {start}", "share",
            tuple(a - b for a, b in zip(known.long[cell + suffix], known.long["rnn" + suffix], strict=True)),
            margin,
        )
        for start, suffix in INITIALISATIONS.items() for cell in ("lstm", "gru")
    }  # fmt: skip


def cells_verdict(effects: Mapping[str, Effect]) -> str:
    """Requires both cells to be ahead; where the initialisations are decided and disagree, it depends on them."""
    return by_condition(
        "the initialisation",
        {start: all_of(*(effects[f"{cell} − rnn, {start}"].verdict for cell in ("lstm", "gru")))
         for start in INITIALISATIONS},
    )  # fmt: skip


def overall(recurrent: str, pictures: str) -> str:
    """Requires both parts to hold; a part that depends on something is passed on where the other one holds."""
    if recurrent == depends_on("the initialisation") and pictures == HOLDS:
        return recurrent
    return all_of(recurrent, pictures)


def _shown(
    known: Recorded, cells: Mapping[str, Effect], recurrent: str, pairs: Mapping[str, Interaction], pictures: str
) -> str:
    largest = max(pairs.values(), key=lambda effect: abs(effect.mean))
    name = next(name for name, effect in pairs.items() if effect is largest).split(",")[0]
    low, high = largest.interval(DECIDING)
    beyond = {HOLDS: "beyond", DOES_NOT_HOLD: "inside", NOT_DECIDED: "not decided against"}[pictures]
    return (
        f"{_of_cells(known, cells, recurrent)} The largest interaction of blocks and pictures, {name}, is "
        f"{100 * largest.mean:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}) for the class rather than the "
        f"place: {beyond} the margin of {100 * largest.margin:g}."
    )


def _of_cells(known: Recorded, cells: Mapping[str, Effect], recurrent: str) -> str:
    means = [sum(values) / len(values) for name, values in known.long.items() if not name.startswith("cnn")]
    if min(means) >= CEILING:
        return (
            f"At long lags all recurrent networks are at the ceiling, the worst with accuracy {min(means):.3f}: this "
            "task left nothing to mend."
        )
    parts = ", ".join(f"{effect.mean:+.2f} ({name})" for name, effect in cells.items())
    judged = {HOLDS: "they mend it", DOES_NOT_HOLD: "they do not mend it", NOT_DECIDED: "not decided"}
    return f"At long lags lstm and gru are ahead of the rnn by {parts}: {judged.get(recurrent, recurrent)}."


def _advice(recurrent: str, pictures: str) -> str:
    sentences = {
        HOLDS: "Take an lstm or a gru rather than an rnn",
        DOES_NOT_HOLD: "Try the plain rnn as well: where it learns the task, gates add nothing but cost",
        depends_on("the initialisation"): "Initialise the plain rnn well before you replace it",
    }
    blocks = {
        HOLDS: "choose the block of a convolutional network on your own validation pictures",
        DOES_NOT_HOLD: "choose the block of a convolutional network by its cost",
    }
    known = [part for part in (sentences.get(recurrent), blocks.get(pictures)) if part]
    return f"{'; '.join(known).capitalize()}." if known else ""


def _needed(recurrent: str, pictures: str) -> str:
    parts = {
        "more seeds of temporal_dependency, which vary between learning and chance": recurrent,
        "more seeds and steps of the pictures (the full setting has both)": pictures,
    }
    open_parts = [part for part, verdict in parts.items() if verdict == NOT_DECIDED]
    return f"{' and '.join(open_parts).capitalize()}." if open_parts else ""


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws the effects of both parts, one below the other."""
    from pipeline.differences.drawing import INTERVAL_NOTE, effects, figure

    curves, described = result["curves"], result["effects"]
    drawn = figure(7.0, 4.8)
    above, below = drawn.subplots(2, 1, height_ratios=[4, 3])
    effects(above, _points(described, curves["cells"]))
    above.set(title="(a) ahead of the plain rnn at long lags", xlabel="accuracy, points")
    effects(below, _points(described, curves["pairs"]))
    margin = 100 * described[curves["pairs"][0]]["margin"]
    for end in (-margin, margin):
        below.axvline(end, color="black", linewidth=1, linestyle="--")
    below.set(
        title="(b) further ahead in naming the class than in naming the place",
        xlabel=f"accuracy, points ({INTERVAL_NOTE}; dashed: margin)",
    )
    return drawn


def _points(described: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Converts effects from shares to points, with the first part of their names."""
    keys = ("interval_95", "interval_995", "per_seed")
    return {
        name.removesuffix(", class − place"): {
            **{key: [100 * value for value in described[name][key]] for key in keys},
            "value": 100 * described[name]["value"],
            "margin": 100 * described[name]["margin"],
        }
        for name in names
    }


__all__ = ["CLAIM", "Settings", "arms", "draw", "judge", "measure"]
