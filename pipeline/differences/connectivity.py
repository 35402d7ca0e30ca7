"""Do convolutions look near, and does recurrence look everywhere?

Claim: a convolutional unit is connected to its neighbourhood, a recurrent one to all that came before.

Data: sequences of T symbols. At the last step a network answers one of two questions: which of two words they end in
(near), or which of two marks came first, `lag` steps ago (far).

Networks: causal encoders. A WaveNet sees the whole sequence; the three recurrent cells have as many parameters, and so
as many multiply-adds. A ResNet and a VGG with shorter fields are shown next to them and decide nothing.

Statistic: the mean squared Jacobian of the last output by the input d steps before, over `inputs` sequences, and from
it k90, the number of steps back that hold nine tenths of its mass. Mean over the recurrent cells of log k90, minus
log k90 of the WaveNet, is to be above 0 in three states: at the start, trained on what is near, and trained on what is
far. Where decided states disagree it depends on training.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.differences import networks
from pipeline.differences.networks import RECURRENT, Design, Reader, cnn, made, matched, rnn, told
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Arm, Common, Count, Measured
from pipeline.differences.result import Result
from pipeline.differences.sequences import last_word, which_came_first
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED, Effect, by_condition, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "Convolutional units look at their neighbourhood, recurrent units at everything before."
WHOLE = "wavenet"
NEAR, FAR, START = "near", "far", "start"
MASS = 0.9


class Settings(Common):
    length: Count  # T
    lag: Count  # of what is far
    word: Count  # letters of what is near
    distractors: Count  # kinds of noise
    inputs: Count  # sequences over which the Jacobian is averaged

    @property
    def channels(self) -> int:
        return self.distractors + 3


def designs(settings: Settings) -> dict[str, Design]:
    """Builds the designs; the WaveNet sets the size of the recurrent networks."""
    whole = cnn("wavenet", width=16, depth=4, kernel_size=5)
    target = networks.parameter_count(made(0, whole, settings.channels, 2))
    by_name: dict[str, Design] = {
        WHOLE: whole,
        "resnet": cnn("resnet", width=16, depth=3, kernel_size=5),
        "vgg": cnn("vgg", width=16, depth=2, kernel_size=5),
    }
    for cell in RECURRENT:
        by_name[cell] = matched(lambda hidden, cell=cell: rnn(cell, hidden=hidden), target, settings.channels, 2)  # type: ignore[misc]
    return by_name


def arms(settings: Settings) -> dict[str, Arm]:
    """Lists every network on either task; those that decide nothing take the WaveNet's learning rate."""
    return {
        f"{name}, {task}": Arm(
            {"design": design, "task": task}, rate_of=f"{WHOLE}, {task}" if name in ("resnet", "vgg") else None
        )
        for name, design in designs(settings).items()
        for task in (NEAR, FAR)
    }


def measure(facts: Mapping[str, Any], seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    """Measures the mass of the Jacobian by lag, before and after one training, and the accuracy."""
    network, task = made(seed, facts["design"], settings.channels, 2), facts["task"]
    inputs, _ = sequences(generator(seed, "inputs"), settings.inputs, task, settings)
    masses: dict[str, Any] = {}
    if counts and task == NEAR:
        network.eval()
        masses[START] = mass_by_lag(network, inputs)
    draw = generator(seed, "train")
    train(network, lambda: sequences(draw, settings.batch, task, settings), loss, steps=settings.steps, rate=rate)
    if counts:
        masses[task] = mass_by_lag(network, inputs)
    x, truth = sequences(generator(seed, "test"), 256, task, settings)
    with torch.inference_mode():
        accuracy = float((network(x).argmax(1) == truth).float().mean())
    return {**masses, "validation": accuracy}


def sequences(draw: torch.Generator, size: int, task: str, settings: Settings) -> tuple[Tensor, Tensor]:
    if task == NEAR:
        return last_word(draw, size, settings.length, settings.distractors, settings.word)
    x, first, _ = which_came_first(draw, size, settings.length, [settings.lag], settings.distractors)
    return x, first


def loss(network: Reader, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(network(batch[0]), batch[1])


def mass_by_lag(network: torch.nn.Module, x: Tensor) -> list[float]:
    """Returns shares of the squared Jacobian of the last outputs by inputs (B, C, T), d = 0, 1, … steps before."""
    x = x.clone().requires_grad_()
    answers = network(x)  # (B, K)
    total = torch.zeros(x.shape[2], dtype=torch.float64)
    for output in range(answers.shape[1]):
        (gradient,) = torch.autograd.grad(answers[:, output].sum(), x, retain_graph=True)
        total += gradient.double().square().sum((0, 1))
    by_lag = total.flip(0)
    return (by_lag / by_lag.sum()).tolist()


def k90(mass: list[float]) -> int:
    """Counts the steps back, the last one included, that hold nine tenths of the mass."""
    return int(np.searchsorted(np.cumsum(mass), MASS * (1 - 1e-9))) + 1


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by all three states."""
    logs = {state: _logs(measured, state) for state in (START, NEAR, FAR)}
    effects = {
        state: Effect(
            f"log k90, mean of rnn, lstm and gru − {WHOLE}, {_words(state)}", "log steps",
            tuple(float(np.mean([row[cell] for cell in RECURRENT])) - row[WHOLE] for row in rows),
        )
        for state, rows in logs.items()
    }  # fmt: skip
    verdict = by_condition("training", {state: effect.verdict for state, effect in effects.items()})
    made_of, example = designs(settings), torch.zeros(1, settings.channels, settings.length)
    return Result(
        verdict=verdict,
        effects=effects,
        shown=_shown(logs, effects),
        advice=_advice(verdict),
        needed="More seeds, as in the full setting." if verdict == NOT_DECIDED else "",
        told={name: told(design, settings.length) for name, design in made_of.items()},
        sizes={
            name: networks.sizes(made(0, design, settings.channels, 2), example) for name, design in made_of.items()
        },
        curves={
            "mass": {
                state: {name: [value[state] for value in _values(measured, name, state)] for name in made_of}
                for state in (START, NEAR, FAR)
            },
            "accuracy": {arm: measured.of(arm, "validation") for arm in measured.values},
        },
    )


def _values(measured: Measured, name: str, state: str) -> list[Mapping[str, Any]]:
    return list(measured.values[f"{name}, {NEAR if state == START else state}"])


def _logs(measured: Measured, state: str) -> list[dict[str, float]]:
    """Returns for every seed the log k90 of the networks that decide."""
    by_name = {
        name: [log(k90(value[state])) for value in _values(measured, name, state)] for name in (WHOLE, *RECURRENT)
    }
    return [dict(zip(by_name, row, strict=True)) for row in zip(*by_name.values(), strict=True)]


def _words(state: str) -> str:
    return "at the start" if state == START else f"trained on what is {state}"


def _shown(logs: Mapping[str, list[dict[str, float]]], effects: Mapping[str, Effect]) -> str:
    parts = []
    for state, rows in logs.items():
        reach = {
            "recurrent": np.exp(np.mean([[row[cell] for cell in RECURRENT] for row in rows])),
            WHOLE: np.exp(np.mean([row[WHOLE] for row in rows])),
        }
        low, high = interval(effects[state].values, 0.995)
        parts.append(
            f"{_words(state)} recurrent cells look {reach['recurrent']:.0f} steps back and the convolutions "
            f"{reach[WHOLE]:.0f} (log ratio {effects[state].mean:+.2f}, {low:+.2f} to {high:+.2f})"
        )
    return f"{'; '.join(parts)}.".capitalize()


def _advice(verdict: str) -> str:
    if verdict == HOLDS:
        return "Where far inputs matter before anything is learned, start with recurrence."
    if verdict == NOT_DECIDED:
        return ""
    if verdict == DOES_NOT_HOLD:
        return "A deep dilated convolution reaches farther than a recurrent cell: fit its field to the data."
    return "How far a network looks is learned: give it the reach that the data need, then let training choose."


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws the share of the mass within d steps, a panel for each task; the start is dashed."""
    from pipeline.differences.drawing import SHADES, figure, legend

    mass = result["curves"]["mass"]
    drawn = figure(7.4, 4.2)
    panels = drawn.subplots(1, 2, sharey=True)
    names = list(mass[START])
    ranks = {family: [name for name in names if (name in RECURRENT) == (family == "rnn")] for family in SHADES}
    colours = {name: SHADES[family][place] for family, ranked in ranks.items() for place, name in enumerate(ranked)}
    for axes, state in zip(panels, (NEAR, FAR), strict=True):
        for name in names:
            for source, dash in ((START, "--"), (state, "-")):
                curve = np.cumsum(np.mean(mass[source][name], axis=0))
                axes.plot(
                    np.arange(1, len(curve) + 1), curve, linestyle=dash, color=colours[name], linewidth=1.4,
                    label=name if dash == "-" else None, marker="o" if name in RECURRENT else "s",
                    markevery=[k90(np.diff(curve, prepend=0.0).tolist()) - 1], markersize=5,
                )  # fmt: skip
        axes.axhline(MASS, linewidth=0.8, linestyle=":", color="black")
        axes.set_xscale("log", base=2)
        axes.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
        axes.set(xlabel="steps back", title=f"trained on what is {state}")
    panels[0].set_ylabel("share of the squared Jacobian (dashed: start)")
    legend(drawn, panels[0])
    return drawn
