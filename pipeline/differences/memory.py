"""Do recurrent networks remember what convolutional ones forget?

Claim: recurrence has a memory, convolutions have none.

Data: one or four symbols of eight, then distractors, then the question for each of them; delays and numbers of symbols
are mixed in one training.

Networks: causal encoders with as many parameters, and so as many multiply-adds, as each other.

Statistic: recalled bits at the longest delay, summed over the symbols and averaged over the two numbers of symbols: the
mutual information of symbols and answers by their confusion table, less that of shuffled answers, as that of few
examples is too high. Bits of the best recurrent network (picked on other seeds) minus those of the convolutional one
that sees the whole sequence: the claim fails where the interval lies below the margin. Norms of gradients show nothing
here: a network that has latched a symbol has gradient zero and remembers it.

Controls: a receptive field that ends before the symbols gives no bit, and without the symbols no network has any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from pipeline.differences.sequences import recall
from pipeline.differences.verdicts import DECIDING, HOLDS, NOT_DECIDED, Effect, interval, refined

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "Recurrent networks remember earlier inputs, convolutional networks do not."
SHUFFLED = 50  # times, from which the bias of a confusion table is known
WHOLE, SHORT = "cnn, whole field", "cnn, short field"


class Settings(Common):
    kinds: Count  # of symbols
    counts: list[Count]  # of symbols that are to be remembered
    delays: list[Count]  # steps
    distractors: Count  # kinds of noise
    examples: Count  # of each delay and number of symbols, on which bits are measured
    margin: float  # bits

    @property
    def slots(self) -> int:
        return max(self.counts)

    @property
    def channels(self) -> int:
        return self.kinds + self.distractors + self.slots

    @property
    def length(self) -> int:
        return 2 * self.slots + max(self.delays)


def designs(settings: Settings) -> dict[str, Design]:
    """Builds the designs; the convolutional network that sees the whole sequence sets the size."""
    whole = cnn("resnet", width=16, depth=6, kernel_size=3)
    target = networks.parameter_count(made(0, whole, settings.channels, settings.kinds))
    sizes = (target, settings.channels, settings.kinds)
    by_name: dict[str, Design] = {WHOLE: whole}
    by_name[SHORT] = matched(lambda width: cnn("resnet", width=width, depth=2, kernel_size=3), *sizes)
    for cell in RECURRENT:
        by_name[cell] = matched(lambda hidden, cell=cell: rnn(cell, hidden=hidden), *sizes)  # type: ignore[misc]
    return by_name


def arms(settings: Settings) -> dict[str, Arm]:
    return {name: Arm(design) for name, design in designs(settings).items()}


def measure(design: Design, seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    """Measures recalled bits by number of symbols and delay after one training, and without the symbols."""
    network = made(seed, design, settings.channels, settings.kinds, read="each")
    draw = generator(seed, "train")
    train(
        network, lambda: sequences(draw, settings.batch, settings), lambda net, batch: loss(net, batch, settings),
        steps=settings.steps, rate=rate,
    )  # fmt: skip
    longest = max(settings.delays)
    bits = recalled(network, seed, settings, settings.delays if counts else [longest])
    ablated = recalled(network, seed, settings, [longest], ablate=True) if counts else {}
    return {"bits": bits, "validation": mean_at(bits, longest), "ablated": mean_at(ablated, longest)}


def sequences(draw: torch.Generator, batch: int, settings: Settings, **fixed: Any) -> tuple[Tensor, ...]:
    chosen: dict[str, Any] = {"counts": settings.counts, "delays": settings.delays, **fixed}
    return recall(draw, batch, kinds=settings.kinds, slots=settings.slots, distractors=settings.distractors, **chosen)


def loss(network: Reader, batch: tuple[Tensor, ...], settings: Settings) -> Tensor:
    """Computes the cross-entropy of the symbols that are asked for."""
    x, symbols, count, _ = batch
    answers = network(x)[:, :, -settings.slots :]  # (B, kinds, slots)
    asked = torch.arange(settings.slots) < count[:, None]
    each: Tensor = functional.cross_entropy(answers, symbols, reduction="none")
    return (each * asked).sum() / asked.sum()


@torch.inference_mode()
def recalled(
    network: Reader, seed: int, settings: Settings, delays: Sequence[int], ablate: bool = False
) -> dict[str, dict[str, float]]:
    """Measures {number of symbols: {delay: bits}} on fresh sequences, with `ablate` on such without the symbols."""
    draw = generator(seed, "test")
    bits: dict[str, dict[str, float]] = {}
    longest = max(settings.delays)
    for count in settings.counts:
        bits[str(count)] = {}
        for delay in delays:
            x, symbols, _, _ = sequences(draw, settings.examples, settings, counts=[count], delays=[longest])
            x = closer(x, settings, delay)
            if ablate:
                x[:, settings.kinds] += x[:, : settings.kinds].sum(1)  # a distractor in the place of every symbol
                x[:, : settings.kinds] = 0
            answers = network(x)[:, :, -settings.slots :].argmax(1)
            pairs = [information(symbols[:, slot], answers[:, slot], settings.kinds) for slot in range(count)]
            bits[str(count)][str(delay)] = float(sum(pairs))
    return bits


def closer(x: Tensor, settings: Settings, delay: int) -> Tensor:
    """Moves the symbols of sequences (B, C, T) of the longest delay to another delay; the length stays."""
    start, slots = max(settings.delays) - delay, settings.slots
    moved = torch.cat([x[:, :, slots : slots + start], x[:, :, :slots], x[:, :, slots + start :]], dim=2)
    return moved.clone()


def information(truth: Tensor, answers: Tensor, kinds: int) -> float:
    """Estimates mutual information in bits by the confusion table, less the mean of that of shuffled answers."""
    draw = generator(0, "shuffled answers")
    chance = [
        plain_information(truth, answers[torch.randperm(len(answers), generator=draw)], kinds) for _ in range(SHUFFLED)
    ]
    return plain_information(truth, answers, kinds) - float(np.mean(chance))


def plain_information(truth: Tensor, answers: Tensor, kinds: int) -> float:
    """Estimates it by the confusion table alone: of few examples it is too high."""
    table = np.zeros((kinds, kinds))
    np.add.at(table, (truth.numpy(), answers.numpy()), 1)
    joint = table / table.sum()
    expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    known = joint > 0
    return float((joint[known] * np.log2(joint[known] / expected[known])).sum())


def mean_at(bits: Mapping[str, Mapping[str, float]], delay: int) -> float:
    """Averages over the numbers of symbols."""
    values = [by_delay[str(delay)] for by_delay in bits.values()]
    return sum(values) / len(values) if values else 0.0


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by the best recurrent network against either receptive field."""
    made_of = designs(settings)
    best = best_of(measured, [name for name, design in made_of.items() if design["family"] == "rnn"])
    effects = {
        against: Effect(
            f"recalled bits after {max(settings.delays)} steps, {best} − {against}", "bits",
            measured.minus(best, against, "validation"), settings.margin, one_sided=True,
        )
        for against in (WHOLE, SHORT)
    }  # fmt: skip
    verdict = refined(effects[WHOLE].verdict, "the receptive field", [effects[SHORT].verdict])
    example = torch.zeros(1, settings.channels, settings.length)
    sizes = {
        name: networks.sizes(made(0, design, settings.channels, settings.kinds, read="each"), example)
        for name, design in made_of.items()
    }
    states = {name: networks.state_bytes(design, settings.channels) for name, design in made_of.items()}
    return Result(
        verdict=verdict,
        effects=effects,
        shown=_shown(measured, best, states),
        advice=_advice(verdict),
        needed="" if verdict != NOT_DECIDED else "The full setting trains four times as long with ten seeds.",
        told={name: told(design, settings.length) for name, design in made_of.items()},
        sizes={name: {**matchings, "state_bytes": states[name]} for name, matchings in sizes.items()},
        controls=_controls(measured, best),
        curves={
            "delays": settings.delays,
            "most": {str(count): float(count * np.log2(settings.kinds)) for count in settings.counts},
            "bits": {name: _rows(measured, name, settings) for name in made_of},
            "state_bytes": states,
            "longest": {name: measured.of(name, "validation") for name in made_of},
        },
    )


def _controls(measured: Measured, best: str) -> dict[str, Any]:
    """Checks that no bit is left beyond the field, nor without the symbols: intervals of means have to hold 0."""
    controls = {}
    for title, arm, name in (
        ("short field has no bits beyond it", SHORT, "validation"),
        ("without the symbols the best recurrent network has no bits", best, "ablated"),
        ("without the symbols the convolutional network has no bits", WHOLE, "ablated"),
    ):
        values = measured.of(arm, name)
        low, high = interval(values, DECIDING)
        controls[title] = control(sum(values) / len(values), "0 within its 99.5 % interval", low <= 0 <= high)
    return controls


def _rows(measured: Measured, name: str, settings: Settings) -> dict[str, list[list[float]]]:
    """Returns {number of symbols: bits of every seed at every delay}."""
    return {
        str(count): [
            [value["bits"][str(count)][str(delay)] for delay in settings.delays] for value in measured.values[name]
        ]
        for count in settings.counts
    }


def _shown(measured: Measured, best: str, states: Mapping[str, int]) -> str:
    means = {
        name: sum(measured.of(name, "validation")) / len(measured.of(name, "validation")) for name in (best, WHOLE)
    }
    per = {name: means[name] / (states[name] / 1000) for name in means}
    return (
        f"At the longest delay the best recurrent network ({best}) recalls {means[best]:.2f} bits and a convolutional "
        f"one that sees the whole sequence {means[WHOLE]:.2f}; for a kilobyte of state that is {per[best]:.2f} and "
        f"{per[WHOLE]:.2f} bits."
    )


def _advice(verdict: str) -> str:
    if verdict == HOLDS:
        return "Where something has to be kept for long, take a recurrent network."
    if verdict == NOT_DECIDED:
        return ""
    return (
        "A receptive field that covers the delay is a memory; a recurrent state is the smaller one where memory counts."
    )


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws bits by delay, and bits at the longest one against bytes of state."""
    from pipeline.differences.drawing import band, figure, legend, styles

    curves = result["curves"]
    chosen = styles({name: "cnn" if name.startswith("cnn") else "rnn" for name in curves["bits"]})
    drawn = figure(7.4, 4.0)
    panels = drawn.subplots(1, len(curves["most"]) + 1)
    for axes, (count, most) in zip(panels, curves["most"].items(), strict=False):
        for name, style in chosen.items():
            band(axes, curves["delays"], curves["bits"][name][count], name, style)
        axes.axhline(most, linewidth=0.8, linestyle=":", color="black")
        axes.set_xscale("log", base=2)
        axes.set_xticks(curves["delays"], [str(delay) for delay in curves["delays"]])
        axes.set(xlabel="delay (steps)", ylabel="recalled bits", title=f"{count} symbol{'s' if count != '1' else ''}")
    for name, style in chosen.items():
        values = curves["longest"][name]
        point = {"color": style["color"], "marker": style["marker"]}
        panels[-1].plot(curves["state_bytes"][name] / 1000, sum(values) / len(values), linestyle="", **point)
    panels[-1].set_xscale("log")
    panels[-1].set(xlabel="state (kB)", ylabel="bits at the longest delay", title="Price of the memory")
    legend(drawn, panels[0])
    return drawn
