"""Does sharing weights let a kernel find a feature anywhere, and a cell work at lengths it was not trained on?

Claim: kernels find a feature anywhere; a cell generalises over lengths.

(a) Data: one of two motifs, the same four symbols in either order, among random ones. In training it lies in the first
half of a sequence, in the test in the second. Networks: one layer, the mean over its positions, a linear head. A tied
convolution has one kernel, an untied one its own kernel at every position; a tied cell (h = tanh(W x + U h + b)) has
one set of weights, an untied one its own at every step. Widths are equal and so are multiply-adds; parameters are not:
an untied layer has about T times as many. Statistic: accuracy in the second half, tied minus untied, of each seed the
mean over all numbers n of training examples. Learning rates are picked at the middle n.

(b) Data: random bits; the answers are their parity and their count modulo 3, after every step. Trained on sequences of
`trained_to` steps, whose beginnings are all shorter lengths; tested at the last step of longer ones. Networks: a causal
convolutional network that sees every tested length whole, and recurrent ones with as many parameters (on causal
sequences these are as many multiply-adds). Statistic: accuracy at four times the length, the best recurrent network
(picked on other seeds) minus the convolutional one, of each seed the mean over both tasks. To save time, the learning
rates and the best network are picked on parity alone.

(c) Digits on a canvas: how many answers stay the same when a digit moves by one pixel; one small training of each
family, at a fixed learning rate. This is shown and decides nothing.

The claim holds where all three statistics of (a) and (b) do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field

from pipeline.differences import networks
from pipeline.differences.networks import RECURRENT, Design, cnn, made, matched, rnn, told
from pipeline.differences.of_sharing import moved_digits
from pipeline.differences.of_sharing.untied import HalfTask, loss
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Arm, Common, Count, Measured, Rate, best_of
from pipeline.differences.result import Result, control
from pipeline.differences.sequences import MOTIF, running_count
from pipeline.differences.verdicts import DECIDING, DOES_NOT_HOLD, HOLDS, NOT_DECIDED, Effect, all_of, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "A shared kernel finds a feature anywhere; a shared cell generalises over lengths."
TIED, UNTIED = "tied", "untied"
LAYERS = {"convolution": "cnn", "cell": "rnn"}  # and the family of each
LENGTHS = "length generalisation"
LEARNT = 0.9  # accuracy from which a task counts as learnt


class Settings(Common):
    """`steps` are those of (b)."""

    margin: float  # of (b)
    length: Count  # T of (a)
    symbols: Annotated[int, Field(ge=MOTIF)]
    width: Count  # of the layers of (a)
    examples: list[Count]  # n
    motif_steps: Count
    moduli: list[Count]
    trained_to: Count  # T
    lengths: list[Count]  # tested
    decides: Count  # the length that decides
    tested: Count  # fresh sequences of a test
    shift_steps: Count
    shift_rate: Rate


def task(settings: Settings) -> HalfTask:
    """Returns the task of (a)."""
    sizes = (settings.length, settings.symbols, settings.width)
    return HalfTask(*sizes, settings.motif_steps, settings.batch, settings.tested)


@cache
def counting_designs() -> dict[str, Design]:
    """Describes the networks of (b): the convolutional one sets the size."""
    whole = cnn("resnet", width=16, depth=6, kernel_size=3)
    target = networks.parameter_count(made(0, whole, 2, 2))
    designs: dict[str, Design] = {"cnn": whole}
    for cell in RECURRENT:
        designs[cell] = matched(lambda hidden, cell=cell: rnn(cell, hidden=hidden), target, 2, 2)  # type: ignore[misc]
    return designs


def arms(settings: Settings) -> dict[str, Arm]:
    motif = {
        f"{name}, {weights}": Arm({"part": "motif", "layer": name, "tied": weights == TIED})
        for name in LAYERS for weights in (TIED, UNTIED)
    }  # fmt: skip
    count = {name: Arm({"part": "count", "design": design}) for name, design in counting_designs().items()}
    shift = {
        name: Arm({"part": "shift", "design": design}, rate=settings.shift_rate)
        for name, design in moved_digits.designs().items()
    }
    return motif | count | shift


def measure(arm: Mapping[str, Any], seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    """Measures one part of the experiment."""
    if arm["part"] == "motif":
        examples = settings.examples if counts else [settings.examples[len(settings.examples) // 2]]
        rows = [task(settings).accuracy(arm["layer"], arm["tied"], seed, rate, count) for count in examples]
        other = [row[1] for row in rows]
        return {"own": [row[0] for row in rows], "other": other, "validation": sum(other) / len(other)}
    if arm["part"] == "count":
        moduli = settings.moduli if counts else settings.moduli[:1]
        tasks = [count_accuracy(arm["design"], seed, rate, settings, modulus) for modulus in moduli]
        accuracy = [sum(column) / len(column) for column in zip(*tasks, strict=True)]
        decides = accuracy[settings.lengths.index(settings.decides)]
        return {"accuracy": accuracy, "tasks": tasks, "validation": decides}
    accuracy_of_digits, same = moved_digits.shift_consistency(
        arm["design"], seed, rate=rate, steps=settings.shift_steps, batch=settings.batch
    )
    return {"accuracy": accuracy_of_digits, "consistency": same, "validation": same}


def count_accuracy(design: Design, seed: int, rate: float, settings: Settings, modulus: int) -> list[float]:
    """Measures (b), accuracy of the last answer by length: answers see no later step, so the longest run holds all."""
    network = made(seed, design, 2, modulus, read="each")
    draw = generator(seed, f"count {modulus}")
    batch = (settings.batch, settings.trained_to, modulus)
    train(network, lambda: running_count(draw, *batch), loss, steps=settings.steps, rate=rate)
    fresh = generator(seed, f"longer {modulus}")
    x, classes = running_count(fresh, settings.tested, max(settings.lengths), modulus)
    with torch.inference_mode():
        right = (network(x).argmax(1) == classes).float().mean(0)
    return [float(right[length - 1]) for length in settings.lengths]


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by both layers of (a) and by the best recurrent network of (b)."""
    best = best_of(measured, RECURRENT)
    effects = {f"{TIED} − {UNTIED}, {name}": _tied(measured, name) for name in LAYERS}
    effects[LENGTHS] = Effect(
        f"accuracy at {settings.decides} steps, trained to {settings.trained_to}, {best} − cnn", "share",
        measured.minus(best, "cnn", "validation"),
        settings.margin,
    )  # fmt: skip
    verdict = all_of(*(effect.verdict for effect in effects.values()))
    return Result(
        verdict=verdict,
        effects=effects,
        shown=_shown(effects, measured, best, settings),
        advice=_advice(effects),
        needed=_needed(effects) if verdict == NOT_DECIDED else "",
        told=_told(settings),
        sizes=_sizes(settings),
        controls=_controls(measured, best, settings),
        curves={
            "examples": settings.examples,
            "other_half": {f"{name}, {kind}": _rows(measured, f"{name}, {kind}", "other")
                           for name in LAYERS for kind in (TIED, UNTIED)},
            "trained_to": settings.trained_to,
            "chance": sum(1 / modulus for modulus in settings.moduli) / len(settings.moduli),
            "lengths": settings.lengths,
            "by_length": {name: _rows(measured, name, "accuracy") for name in ("cnn", *RECURRENT)},
            "by_task": {name: _rows(measured, name, "tasks") for name in ("cnn", *RECURRENT)},
            "digits": {name: {kind: measured.of(name, kind) for kind in ("accuracy", "consistency")}
                       for name in moved_digits.designs()},
        },
    )  # fmt: skip


def _tied(measured: Measured, name: str) -> Effect:
    values = measured.minus(f"{name}, {TIED}", f"{name}, {UNTIED}", "validation")
    return Effect(f"accuracy in the half without training, {name}, {TIED} − {UNTIED}, mean over n", "share", values)


def _rows(measured: Measured, arm: str, name: str) -> list[Any]:
    return [value[name] for value in measured.values[arm]]


def _told(settings: Settings) -> dict[str, str]:
    counting = {name: told(design, max(settings.lengths)) for name, design in counting_designs().items()}
    kernel = f"a kernel of {MOTIF}, as long as the motif"
    return {"convolution": kernel, "cell": "nothing (orthogonal recurrent weights)", **counting}


def _sizes(settings: Settings) -> dict[str, dict[str, int]]:
    """Returns sizes: layers of (a) have equal widths, networks of (b), and those of (c), about as many parameters."""
    bits = torch.zeros(1, 2, max(settings.lengths))
    counting = {
        name: networks.sizes(made(0, design, 2, 2, read="each"), bits) for name, design in counting_designs().items()
    }
    kinds = [(name, kind) for name in LAYERS for kind in (TIED, UNTIED)]
    layers = {f"{name}, {kind}": task(settings).sizes(name, kind == TIED) for name, kind in kinds}
    return layers | counting | moved_digits.sizes()


def _controls(measured: Measured, best: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """Checks whether what is compared has been learnt at all, where it was trained."""
    controls = {}
    for name in LAYERS:
        for kind in (TIED, UNTIED):
            values = [value["own"][-1] for value in measured.values[f"{name}, {kind}"]]
            text = f"99.5 % interval above chance (0.5), n = {settings.examples[-1]}"
            learnt = interval(values, DECIDING)[0] > 0.5
            controls[f"{kind} {name} learns the half it is trained in"] = control(_mean(values), text, learnt)
    for name in (best, "cnn"):
        share = _mean(_at(measured, name, settings.trained_to, settings))
        controls[f"{name} learns the trained lengths"] = control(
            share, f"{LEARNT} or more at {settings.trained_to} steps", share >= LEARNT
        )
    return controls


def _at(measured: Measured, name: str, length: int, settings: Settings) -> list[float]:
    place = settings.lengths.index(length)
    return [value["accuracy"][place] for value in measured.values[name]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _difference(effect: Effect) -> str:
    low, high = interval(effect.values, DECIDING)
    return f"{effect.mean:+.2f} ({low:+.2f} to {high:+.2f})"


def _shown(effects: Mapping[str, Effect], measured: Measured, best: str, settings: Settings) -> str:
    convolution, cell = (_difference(effects[f"{TIED} − {UNTIED}, {name}"]) for name in LAYERS)
    share = _mean(_at(measured, "cnn", settings.trained_to, settings))
    return (
        f"In the half without training, shared weights change accuracy by {convolution} in a convolution and {cell} in "
        f"a cell; at {settings.decides} steps, four times the trained length, the best recurrent network ({best}) is "
        f"{_difference(effects[LENGTHS])} ahead of a convolutional one, whose accuracy is {share:.2f} at the trained "
        f"{settings.trained_to}; {moved_digits.sentence(measured)}."
    )


def _advice(effects: Mapping[str, Effect]) -> str:
    """Advises in one half of a sentence for either part that is decided."""
    layers = all_of(*(effect.verdict for name, effect in effects.items() if name != LENGTHS))
    halves = {
        HOLDS: "share weights over positions where a feature may come up anywhere",
        DOES_NOT_HOLD: "do not rely on shared weights to find a feature where none was in training",
    }
    longer = {
        HOLDS: "take a recurrent network where sequences to count over are longer than those of the training",
        DOES_NOT_HOLD: "train on the lengths that come, as a recurrent network is no remedy for missing ones",
    }
    parts = [part for part in (halves.get(layers), longer.get(effects[LENGTHS].verdict)) if part]
    sentence = ", and ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _needed(effects: Mapping[str, Effect]) -> str:
    open_ones = [name for name, effect in effects.items() if effect.verdict == NOT_DECIDED]
    return f"More seeds, steps and selection seeds, as in the full setting, to decide: {'; '.join(open_ones)}."


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws on the left accuracy by test length, trained ones shaded, on the right tied against untied weights."""
    from pipeline.differences.drawing import band, figure, legend, styles

    curves = result["curves"]
    drawn = figure(7.4, 4.3)
    lengths, halves = drawn.subplots(1, 2, width_ratios=(1.15, 1))
    rows = curves["by_length"]
    for name, style in styles({name: "cnn" if name == "cnn" else "rnn" for name in rows}).items():
        band(lengths, curves["lengths"], rows[name], name, style)
    lengths.axvspan(curves["lengths"][0], curves["trained_to"], color="0.92", zorder=0)
    lengths.axhline(curves["chance"], linewidth=0.8, linestyle=":", color="black")
    lengths.set_xscale("log", base=2)
    lengths.set_xticks(curves["lengths"], [str(length) for length in curves["lengths"]])
    lengths.set(xlabel="test length (steps; trained lengths shaded)", ylabel="accuracy, parity and count mod 3")
    lengths.set_ylim(0.3, 1.04)
    legend(drawn, lengths, columns=4)
    _halves(halves, curves)
    return drawn


def _halves(axes: Any, curves: Mapping[str, Any]) -> None:
    """Draws a row for each layer and n: the means of both kinds of weights with 95 % (thick) and 99.5 % intervals."""
    from pipeline.differences.drawing import FAMILY
    from pipeline.differences.verdicts import SHOWN

    labels, row = [], 0
    for name, family in LAYERS.items():
        for place, examples in enumerate(curves["examples"]):
            for kind, filled in ((TIED, True), (UNTIED, False)):
                values = [seed[place] for seed in curves["other_half"][f"{name}, {kind}"]]
                colour, height = FAMILY[family], row + (-0.12 if filled else 0.12)
                for confidence, thickness in ((DECIDING, 1), (SHOWN, 3)):
                    axes.plot(interval(values, confidence), [height] * 2, color=colour, linewidth=thickness)
                inside = colour if filled else "white"
                axes.plot(_mean(values), height, "o", color=colour, markerfacecolor=inside, markersize=6)
            labels.append(f"{name}\nn = {examples}")
            row += 1
    axes.axvline(0.5, linewidth=0.8, linestyle=":", color="black")
    axes.set_yticks(range(row), labels, fontsize=8)
    axes.set_ylim(row - 0.4, -0.6)
    axes.set(xlabel="accuracy in the half without training\n(● tied, ○ untied)", xlim=(0.4, 1.03))
