"""Must a recurrent network go through a sequence step by step, where a convolutional one needs no order?

Claim: the layers of a convolutional network compute all steps at once; an rnn, an lstm or a gru cannot begin a step
before the one before it is done.

(a) decides. The longest chain of dependent operations is counted, see `chain`, for networks that see all of T steps:
convolutional ones get as many levels as their receptive field takes to cover T. Statistic: the exponent with which the
chain grows over T (1: as T does; 0: not at all), of each of the three cells minus the largest of a convolutional
network; the claim holds where all three differences are above 0.5, half of the way from constant to linear. What is
counted is the same for every seed, so that the intervals have no width.

(b) Seconds by T, of a step of training, at a constant number of positions B * T and at B = 1, with one and two threads.
They depend on the machine and decide nothing: they are written to timings/.

(c) Whether this is so of recurrence as such: minGRU (Feng et al., 2024) computes all of its states in a scan of log2 T
rounds. It has two layers, as the gates of one see nothing of the past, and as many parameters as the networks of
temporal_dependency, whose data, settings and seeds it is trained with. Statistic: accuracy of the gru there minus that
of minGRU, at the lags that count. Where its interval lies within the margin (or minGRU is ahead), scan and loop agree,
and its own chain grows like a convolution's, the claim holds for rnn, lstm and gru, not for recurrence as
such. The verdict is about the three cells and stays that of (a): the sentence is in `shown`, as a verdict that
depends on something needs a condition that is named, and none is named for this difference.

Every weight is used once at every step of a sequence, so that equal parameters are equal multiply-adds, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache, partial
from math import ceil, log2
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.differences import networks, temporal_dependency
from pipeline.differences.networks import RECURRENT, Design, Reader, cnn, made, matched, rnn, told
from pipeline.differences.of_parallelism.chain import exponent, longest_chain
from pipeline.differences.of_parallelism.mingru import made_mingru, matched_hidden, step_by_step
from pipeline.differences.of_parallelism.seconds import SCAN, Case, median_seconds
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Arm, Common, Count, Measured
from pipeline.differences.recorded import Recorded
from pipeline.differences.recorded import temporal_dependency as recorded
from pipeline.differences.result import Result, control
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED, Effect, all_of, interval
from pipeline.params import ParamsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "Convolutional layers compute all steps at once; an rnn, lstm or gru must take them one after the other."
BLOCKS = ("vgg", "googlenet", "resnet", "wavenet")
TIMED = ("resnet", *RECURRENT)  # and minGRU
MINGRU = "mingru, scan"
HIGHEST = 192  # hidden size up to which the sizes of the cells are looked for
EQUAL = 1e-4  # how far scan and loop may be apart
SHARED = ("seeds", "selection_seeds", "rates", "steps", "batch")  # with temporal_dependency


class Settings(Common):
    """All but what is here are those of temporal_dependency."""

    lengths: Annotated[list[Count], Field(min_length=2)]  # T of the chains
    margin: float  # of the exponents
    accuracy_margin: float  # of gru minus minGRU
    timed: list[Count]  # T of the seconds
    positions: Count  # B * T of the seconds
    blocks: Count  # repetitions of each, interleaved


def task(settings: Settings) -> tuple[Recorded, temporal_dependency.Settings]:
    """Reads the result of temporal_dependency and its settings. Raises ParamsError where those here differ."""
    known = recorded()
    for name in SHARED:
        if getattr(settings, name) != known.budget[name]:
            raise ParamsError(
                f"differences.parallelism.{name} must be that of temporal_dependency, {known.budget[name]}, got "
                f"{getattr(settings, name)}; run temporal_dependency again where it has changed there"
            )
    return known, temporal_dependency.Settings(**known.budget)


def hidden_size(sequences: temporal_dependency.Settings) -> int:
    """Finds the hidden size with which minGRU has as many parameters as the networks of temporal_dependency."""
    whole = temporal_dependency.designs(sequences)[temporal_dependency.WHOLE]
    channels = sequences.distractors + 3
    return matched_hidden(networks.parameter_count(made(0, whole, channels, 2)), channels, 2)


def arms(settings: Settings) -> dict[str, Arm]:
    return {MINGRU: Arm({"hidden": hidden_size(task(settings)[1])})}


def measure(facts: Mapping[str, Any], seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    """Measures accuracy at every lag after one training, and how far scan and loop are apart then."""
    sequences = task(settings)[1]
    network = made_mingru(seed, facts["hidden"], sequences.distractors + 3, 2)
    draw = generator(seed, "train")
    train(
        network, lambda: temporal_dependency.sequences(draw, sequences.batch, sequences), temporal_dependency.loss,
        steps=sequences.steps, rate=rate,
    )  # fmt: skip
    accuracy = temporal_dependency.accuracy_by_lag(network, seed, sequences)
    seen = {"accuracy": accuracy, "validation": temporal_dependency.long_accuracy(accuracy, sequences)}
    if counts:
        x = temporal_dependency.sequences(generator(seed, "scan"), sequences.batch, sequences)[0]
        seen["apart"] = scan_from_loop(network, x)
    return seen


def scan_from_loop(network: nn.Module, x: Tensor) -> float:
    """Computes the largest difference of scan and loop, in answers and gradients, as a share of the largest above 1."""
    loop = deepcopy(network)
    step_by_step(loop)
    pairs = list(zip(_answers_and_gradients(network, x), _answers_and_gradients(loop, x), strict=True))
    return max(float((a - b).abs().max()) / max(1.0, float(b.abs().max())) for a, b in pairs)


def _answers_and_gradients(network: nn.Module, x: Tensor) -> list[Tensor]:
    answers: Tensor = network(x)
    gradients = torch.autograd.grad(answers.pow(2).sum(), list(network.parameters()))
    return [answers.detach(), *gradients]


def covering(length: int) -> int:
    """Counts the levels with which kernels of 3 see `length` steps: 1 + 2 (2^(levels + 1) - 1) of them."""
    return max(1, ceil(log2((length + 1) / 2)) - 1)


def blocks(length: int) -> dict[str, Design]:
    """Describes convolutional networks that see `length` steps."""
    return {name: cnn(name, width=16, depth=covering(length), kernel_size=3) for name in BLOCKS}


@cache
def cells(longest: int, channels: int) -> Mapping[str, Design]:
    """Describes recurrent networks with as many parameters as the residual one that sees `longest` steps."""
    target = _target(longest, channels)
    return {cell: matched(partial(_cell, cell), target, channels, 2, highest=HIGHEST) for cell in RECURRENT}


def _cell(name: str, hidden: int) -> Design:
    return rnn(name, hidden=hidden)


def _target(longest: int, channels: int) -> int:
    return networks.parameter_count(made(0, blocks(longest)["resnet"], channels, 2))


def built(length: int, longest: int, channels: int) -> dict[str, Reader]:
    """Makes all networks, minGRU among them; the convolutional ones see `length` steps."""
    designs = {**blocks(length), **cells(longest, channels)}
    mingru = made_mingru(0, matched_hidden(_target(longest, channels), channels, 2), channels, 2)
    return {**{name: made(0, design, channels, 2) for name, design in designs.items()}, MINGRU: mingru}


def chains(settings: Settings, channels: int) -> dict[str, list[int]]:
    """Counts the longest chain of every network at every length."""
    counted: dict[str, list[int]] = {}
    for length in settings.lengths:
        for name, network in built(length, settings.lengths[-1], channels).items():
            counted.setdefault(name, []).append(longest_chain(network, torch.zeros(1, channels, length)))
    return counted


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by the chains; minGRU shows how far the verdict reaches."""
    known, sequences = task(settings)
    channels, longest = sequences.distractors + 3, settings.lengths[-1]
    counted = chains(settings, channels)
    growth = {name: exponent(settings.lengths, counts) for name, counts in counted.items()}
    against = max(BLOCKS, key=lambda name: growth[name])
    effects = {
        cell: Effect(
            f"exponent of the longest chain over T, {cell} − {against}", "exponent",
            (growth[cell] - growth[against],) * settings.seeds, settings.margin,
        )
        for cell in RECURRENT
    }  # fmt: skip
    verdict = all_of(*(effect.verdict for effect in effects.values()))
    accuracy = Effect(
        f"accuracy at lags from {sequences.long} on, gru − mingru", "share",
        tuple(a - b for a, b in zip(known.long["gru"], measured.of(MINGRU, "validation"), strict=True)),
        settings.accuracy_margin,
    )  # fmt: skip
    controls = _controls(measured, growth, against, settings)
    reached = accuracy.verdict == DOES_NOT_HOLD and all(check["passed"] for check in controls.values())
    return Result(
        verdict=verdict,
        effects={**effects, "gru − mingru": accuracy},
        shown=_shown(counted, longest, accuracy, reached, verdict),
        advice=_advice(verdict, reached),
        needed="Longer sequences: what is counted varies with nothing else." if verdict == NOT_DECIDED else "",
        told={
            **{name: told(design, longest) for name, design in {**blocks(longest), **cells(longest, channels)}.items()},
            MINGRU: "nothing (gates see the input of their own step alone)",
        },
        sizes={
            name: networks.sizes(network, torch.zeros(1, channels, longest))
            for name, network in built(longest, longest, channels).items()
        },
        controls=controls,
        curves={"lengths": settings.lengths, "chains": counted, "exponents": growth},
    )


def _controls(
    measured: Measured, growth: Mapping[str, float], against: str, settings: Settings
) -> dict[str, dict[str, Any]]:
    apart = max(measured.of(MINGRU, "apart"))
    ahead = growth[MINGRU] - growth[against]
    return {
        "scan and loop of mingru agree, answers and gradients": control(apart, f"at most {EQUAL}", apart <= EQUAL),
        "the chain of mingru grows like a convolution's": control(
            ahead, f"exponent less than {settings.margin} above that of {against}", ahead < settings.margin
        ),
    }


def _shown(counted: Mapping[str, Sequence[int]], longest: int, accuracy: Effect, reached: bool, verdict: str) -> str:
    low, high = interval(accuracy.values, 0.995)
    cells = ", ".join(f"{counted[cell][-1]:,} ({cell})" for cell in RECURRENT)
    blocks = [counted[name][-1] for name in BLOCKS]
    seen = (
        f"At T = {longest} the longest chain has {min(blocks)} to {max(blocks)} operations in convolutional networks, "
        f"{cells} in recurrent ones and {counted[MINGRU][-1]} in mingru, which the gru leads by "
        f"{accuracy.mean:+.2f} ({low:+.2f} to {high:+.2f}) in accuracy at long lags"
    )
    if verdict == HOLDS and reached:
        return f"{seen}: the claim holds for rnn, lstm, gru; not for recurrence as such."
    return f"{seen}: whether recurrence as such is bound to its steps stays open."


def _advice(verdict: str, reached: bool) -> str:
    if verdict != HOLDS:
        return ""
    chosen = "Where long sequences must be quick on parallel hardware, take a convolutional network"
    return f"{chosen} or a cell whose gates do not see the state." if reached else f"{chosen}."


def after(measured: Measured, settings: Settings, folder: Path) -> None:
    """Measures seconds and writes them and their figure, <folder>/parallelism-seconds.json and .svg."""
    from pipeline.differences.drawing import save_svg
    from pipeline.differences.of_parallelism.seconds import draw_seconds
    from pipeline.files.atomic import write_json

    del measured
    channels = temporal_dependency.Settings(**recorded().budget).distractors + 3
    networks_of = built(max(settings.timed), max(settings.timed), channels)
    ready = {name: networks_of[name] for name in (*TIMED, MINGRU)}
    cases = [
        Case(batch, length, threads)
        for length in settings.timed
        for batch in {max(1, settings.positions // length): 0, 1: 0} for threads in (1, 2)
    ]  # fmt: skip
    rows = median_seconds(ready, cases, channels, settings.blocks)
    write_json(folder / "parallelism-seconds.json", {"blocks": settings.blocks, "rows": rows})
    save_svg(draw_seconds(rows, MINGRU), folder / "parallelism-seconds.svg")


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws the longest chain by T, of three families."""
    from pipeline.differences.drawing import figure, legend, styles

    lengths, counted = result["curves"]["lengths"], result["curves"]["chains"]
    drawn = figure(7.0, 4.4)
    axes = drawn.add_subplot()
    families = {name: "cnn" if name in BLOCKS else "rnn" for name in counted if name != MINGRU}
    for name, style in {**styles(families), MINGRU: SCAN}.items():
        axes.plot(lengths, counted[name], label=name, **style)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=10)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set(xlabel="length T (steps)", ylabel="longest chain (dependent operations)")
    axes.set_title(
        "Seconds of a step of training, at constant B·T and at B = 1, with one and two\n"
        "threads, depend on the machine: timings/differences/parallelism-seconds.svg",
        fontsize=8, loc="left",
    )  # fmt: skip
    legend(drawn, axes, columns=4)
    return drawn
