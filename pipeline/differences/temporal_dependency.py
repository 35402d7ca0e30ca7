"""Do recurrent networks carry information over lags at which convolutional ones lose it?

Claim: recurrence carries long lags, convolutions do not.

Data: T symbols. Two marks, A and B, lie next to each other `lag` steps before the last one, where the network is
asked which of them came first; everything else is noise. Lags are mixed in one training. A network whose receptive
field ends before the marks cannot do better than chance, or the task leaks.

Networks: causal encoders with as many parameters as each other. Every weight is used once at every step of a sequence,
so that equal parameters are equal multiply-adds, too.

Statistic: mean accuracy over the lags from `long` on, the best recurrent network (picked on other seeds) minus the
convolutional one that sees the whole sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.differences import networks
from pipeline.differences.networks import RECURRENT, Design, Reader, cnn, made, matched, rnn, told
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Arm, Common, Count, Measured, best_of
from pipeline.differences.result import Result, control
from pipeline.differences.sequences import which_came_first
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, Effect, interval, refined

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "Recurrent networks carry information over long lags, convolutional networks do not."
CHANCE = 0.5
WHOLE, SHORT = "cnn, whole field", "cnn, short field"


class Settings(Common):
    length: Count  # T
    lags: list[Count]
    long: Count  # lags from here on count
    distractors: Count  # kinds of noise
    examples: Count  # of each lag, on which accuracy is measured
    margin: float


def designs(settings: Settings) -> dict[str, Design]:
    """Describes the networks by their shown names: the convolutional one that sees all of T sets the size."""
    whole = cnn("resnet", width=16, depth=5, kernel_size=3)
    channels = settings.distractors + 3
    target = networks.parameter_count(made(0, whole, channels, 2))
    by_name: dict[str, Design] = {WHOLE: whole}
    by_name[SHORT] = matched(lambda width: cnn("resnet", width=width, depth=2, kernel_size=3), target, channels, 2)
    for cell in RECURRENT:
        by_name[cell] = matched(lambda hidden, cell=cell: rnn(cell, hidden=hidden), target, channels, 2)  # type: ignore[misc]
        by_name[f"{cell}, PyTorch's start"] = {**by_name[cell], "initialisation": "torch"}
    return by_name


def arms(settings: Settings) -> dict[str, Arm]:
    return {name: Arm(design) for name, design in designs(settings).items()}


def measure(design: Design, seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    """Measures accuracy at every lag after one training."""
    network = made(seed, design, settings.distractors + 3, 2)
    draw = generator(seed, "train")
    train(network, lambda: sequences(draw, settings.batch, settings), loss, steps=settings.steps, rate=rate)
    accuracy = accuracy_by_lag(network, seed, settings)
    return {"accuracy": accuracy, "validation": long_accuracy(accuracy, settings)}


def sequences(draw: torch.Generator, batch: int, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    return which_came_first(draw, batch, settings.length, settings.lags, settings.distractors)


def loss(network: Reader, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(network(batch[0]), batch[1])


@torch.inference_mode()
def accuracy_by_lag(network: Reader, seed: int, settings: Settings) -> dict[str, float]:
    """Measures it on fresh sequences, the same for all networks of a seed."""
    draw = generator(seed, "test")
    accuracies = {}
    for lag in settings.lags:
        x, first, _ = which_came_first(draw, settings.examples, settings.length, [lag], settings.distractors)
        accuracies[str(lag)] = float((network(x).argmax(1) == first).float().mean())
    return accuracies


def long_accuracy(accuracy: Mapping[str, float], settings: Settings) -> float:
    """Averages over the lags that count."""
    values = [accuracy[str(lag)] for lag in settings.lags if lag >= settings.long]
    return sum(values) / len(values)


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by the best recurrent network against either receptive field."""
    made_of = designs(settings)
    recurrent = [name for name, design in made_of.items() if design["family"] == "rnn"]
    best = best_of(measured, recurrent)
    effects = {
        against: Effect(
            f"accuracy at lags from {settings.long} on, {best} − {against}", "share",
            measured.minus(best, against, "validation"),
            settings.margin,
        )
        for against in (WHOLE, SHORT)
    }  # fmt: skip
    verdict = refined(effects[WHOLE].verdict, "the receptive field", [effects[SHORT].verdict])
    channels = settings.distractors + 3
    example = torch.zeros(1, channels, settings.length)
    return Result(
        verdict=verdict,
        effects=effects,
        shown=_shown(effects[WHOLE], best),
        advice=_advice(verdict),
        told={name: told(design, settings.length) for name, design in made_of.items()},
        sizes={name: networks.sizes(made(0, design, channels, 2), example) for name, design in made_of.items()},
        controls={"short field is at chance beyond it": _leak(measured, settings)},
        curves={
            "lags": settings.lags,
            "short_field": networks.field(made_of[SHORT]),
            "by_lag": {name: _rows(measured, name, settings) for name in made_of},
        },
    )


def _rows(measured: Measured, name: str, settings: Settings) -> list[list[float]]:
    """Returns the accuracy of every seed at every lag."""
    return [[value["accuracy"][str(lag)] for lag in settings.lags] for value in measured.values[name]]


def _leak(measured: Measured, settings: Settings) -> dict[str, Any]:
    """Checks whether the 99.5 % interval of accuracy beyond the short field holds chance."""
    seen = networks.field(designs(settings)[SHORT]) or 0
    beyond = [str(lag) for lag in settings.lags if lag > seen]
    values = [sum(value["accuracy"][lag] for lag in beyond) / len(beyond) for value in measured.values[SHORT]]
    low, high = interval(values, 0.995)
    return control(sum(values) / len(values), f"{CHANCE} within its 99.5 % interval", low <= CHANCE <= high)


def _shown(effect: Effect, best: str) -> str:
    low, high = interval(effect.values, 0.995)
    return (
        f"At long lags the best recurrent network ({best}) is {effect.mean:+.2f} ({low:+.2f} to {high:+.2f}) ahead of "
        "a convolutional one that sees the whole sequence; one with a short receptive field is at chance beyond it."
    )


def _advice(verdict: str) -> str:
    if verdict == HOLDS:
        return "Where the answer depends on steps far back, take a recurrent network."
    if verdict == DOES_NOT_HOLD or verdict.startswith("depends"):
        return "Give a convolutional network a receptive field that covers the lags of your data; then it carries them."
    return ""


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws accuracy by lag with 95 % bars, and the end of the short receptive field."""
    from pipeline.differences.drawing import figure, legend

    curves = result["curves"]
    lags, rows = np.array(curves["lags"], dtype=np.float64), curves["by_lag"]
    drawn = figure(7.0, 4.2)
    axes = drawn.add_subplot()
    for place, name in enumerate(rows):
        values = np.array(rows[name])
        half = [max(interval(column, 0.95)[1] - column.mean(), 0.0) for column in values.T]
        shift = 1 + 0.03 * (place - len(rows) / 2)  # so that bars do not hide each other
        axes.errorbar(lags * shift, values.mean(0), half, label=name, capsize=2, elinewidth=0.8, **_look(name))
    axes.axhline(CHANCE, linewidth=0.8, linestyle=":", color="black")
    axes.axvline(curves["short_field"], linewidth=0.8, linestyle="--", color="black")
    note: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points", "fontsize": 8, "va": "top"}
    axes.annotate("short field ends", (curves["short_field"], 1.13), **note)
    axes.set_xscale("log", base=2)
    axes.set_xticks(lags, [f"{lag:.0f}" for lag in lags])
    axes.set(xlabel="lag (steps before the question)", ylabel="accuracy (bars: 95 %)", ylim=(0.35, 1.15))
    legend(drawn, axes)
    return drawn


def _look(name: str) -> dict[str, Any]:
    """Picks a colour for every cell, open markers and dashes where it starts as PyTorch has it."""
    from pipeline.differences.drawing import MARKERS, SHADES

    if name in (WHOLE, SHORT):
        place = (WHOLE, SHORT).index(name)
        return {"color": SHADES["cnn"][place], "marker": "sD"[place], "markersize": 5, "linewidth": 1.6}
    place, plain = RECURRENT.index(name.partition(",")[0]), name in RECURRENT
    look = {"color": SHADES["rnn"][place], "marker": MARKERS[place], "markersize": 5, "linewidth": 1.2}
    return {**look, "linestyle": "-" if plain else "--", "fillstyle": "full" if plain else "none"}
