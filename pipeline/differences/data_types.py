"""Are convolutions made for grids, and recurrence for ordered sequences?

Claim: convolutional networks are for pictures, recurrent networks for ordered sequences.

Data: digits at random places of a canvas (ten classes); two kinds of sequences, the order of two motifs and the sign of
an autoregression's memory (two classes each). Each of them as it is, and with its positions permuted, by one and the
same permutation in train and test: a network that uses neighbourhood or order loses by it, one that does not does not.

Networks: encoders that see both ways, as the pipeline uses them for such data, each trained from scratch on every
kind of data and on its permuted form. A GRU sweeps the pictures in squares of two pixels; it is compared with two
convolutional networks, one with as many parameters and one with as many multiply-adds. Over sequences equal parameters
are equal multiply-adds. In addition a causal GRU reads the pictures pixel by pixel; it decides nothing.

Statistic: what the permutation costs in accuracy. On pictures convolutional minus recurrent, on sequences recurrent
minus convolutional, both above one point. The claim holds where it does on pictures and on both kinds of sequences.
Where it holds on pictures and decided signs of sequences differ it depends on the data set; where it holds on sequences
and the decided sign on pictures flips between the two matchings it depends on the matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.differences import networks
from pipeline.differences.canvas import SIDE, batch_of, test_digits, train_digits
from pipeline.differences.networks import Design, Reader, cnn, made, matched, rnn
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Arm, Common, Count, Measured
from pipeline.differences.result import Result
from pipeline.differences.sequences import ordered_motifs, regimes
from pipeline.differences.verdicts import DECIDING, HOLDS, NOT_DECIDED, Effect, all_of, depends_on, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "Convolutional networks are made for grids, recurrent networks for ordered sequences."
PICTURES, MOTIFS, REGIMES = "digits", "order of motifs", "regimes"
SEQUENCES = (MOTIFS, REGIMES)
EQUAL_COST, IN_PIXELS = "cnn of equal cost", "rnn, pixel by pixel"
KINDS = {PICTURES: 10, MOTIFS: 2, REGIMES: 2}
FORMS = ("intact", "permuted")


class Settings(Common):
    length: Count  # of sequences
    motif: Count  # steps of a motif
    strength: float  # of the autoregression's memory
    examples: Count  # on which accuracy is measured
    margin: float


@cache
def designs(kind: str) -> dict[str, Design]:
    """Returns the networks of a kind of data, by the names that a reader sees."""
    if kind in SEQUENCES:
        deep = cnn("resnet", width=16, depth=3, kernel_size=3)
        target = networks.parameter_count(made(0, deep, 1, 2, causal=False, read="mean"))
        both = matched(lambda hidden: rnn("gru", hidden=hidden), target, 1, 2, causal=False, read="mean")
        return {"cnn": deep, "rnn": both}
    deep = cnn("resnet", width=16, depth=2, kernel_size=3)
    grid: dict[str, Any] = {"dimensions": 2, "causal": False, "read": "mean"}
    target = networks.parameter_count(made(0, deep, 1, 10, **grid))
    swept = matched(lambda hidden: rnn("gru", hidden=hidden, patch=2), target, 1, 10, **grid)
    example = torch.zeros(1, 1, SIDE, SIDE)
    cost = networks.multiply_adds(made(0, swept, 1, 10, **grid), example)
    equal = matched(
        lambda width: cnn("resnet", width=width, depth=2, kernel_size=3), cost, 1, 10, example=example, **grid
    )
    pixels = matched(lambda hidden: rnn("gru", hidden=hidden), target, 1, 10)
    return {"cnn": deep, "rnn": swept, EQUAL_COST: equal, IN_PIXELS: pixels}


def arms(settings: Settings) -> dict[str, Arm]:
    """Lists all networks on all forms of data; only what competes for the verdict picks a learning rate of its own."""
    by_name = {}
    for kind in KINDS:
        for name, design in designs(kind).items():
            for form in FORMS:
                facts = {"design": design, "kind": kind, "form": form, "pixels": name == IN_PIXELS}
                borrowed = f"{kind}, rnn, {form}" if name == IN_PIXELS else None
                by_name[f"{kind}, {name}, {form}"] = Arm(facts, rate_of=borrowed)
    return by_name


def measure(facts: Mapping[str, Any], seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    """Measures accuracy after one training."""
    kind, draw = facts["kind"], generator(seed, "train")
    network = network_of(facts, seed)
    train(network, lambda: examples(draw, settings.batch, facts, settings), loss, steps=settings.steps, rate=rate)
    x, truth = examples(generator(seed, "test"), settings.examples, facts, settings, test=True)
    with torch.inference_mode():
        accuracy = float((network(x).argmax(1) == truth).float().mean())
    return {"validation": accuracy, "chance": 1 / KINDS[kind]}


def network_of(facts: Mapping[str, Any], seed: int) -> Reader:
    if facts["pixels"]:
        return made(seed, facts["design"], 1, KINDS[facts["kind"]])
    dimensions = 2 if facts["kind"] == PICTURES else 1
    return made(seed, facts["design"], 1, KINDS[facts["kind"]], dimensions=dimensions, causal=False, read="mean")


def examples(
    draw: torch.Generator, size: int, facts: Mapping[str, Any], settings: Settings, test: bool = False
) -> tuple[Tensor, Tensor]:
    """Draws a batch of a kind of data, intact or permuted."""
    if facts["kind"] == PICTURES:
        digits = test_digits() if test else train_digits()
        x, truth, _ = batch_of(draw, digits, size)
    elif facts["kind"] == MOTIFS:
        x, truth = ordered_motifs(draw, size, settings.length, settings.motif)
    else:
        x, truth = regimes(draw, size, settings.length, settings.strength)
    flat = x.flatten(2)
    if facts["form"] == "permuted":
        flat = flat[:, :, torch.randperm(flat.shape[2], generator=generator(0, "permutation"))]
    return (flat if facts["pixels"] else flat.view(x.shape)), truth


def loss(network: Reader, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(network(batch[0]), batch[1])


def cost(measured: Measured, kind: str, name: str) -> tuple[float, ...]:
    """Computes the accuracy that the permutation takes away, seed by seed."""
    return measured.minus(f"{kind}, {name}, intact", f"{kind}, {name}, permuted", "validation")


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by the costs of both families on pictures and on sequences."""

    def effect(kind: str, ahead: str, behind: str) -> Effect:
        values = zip(cost(measured, kind, ahead), cost(measured, kind, behind), strict=True)
        what = f"accuracy that the permutation costs on {kind}, {ahead} − {behind}"
        return Effect(what, "share", tuple(one - other for one, other in values), settings.margin)

    effects = {
        "pictures, equal parameters": effect(PICTURES, "cnn", "rnn"),
        "pictures, equal multiply-adds": effect(PICTURES, EQUAL_COST, "rnn"),
        **{kind: effect(kind, "rnn", "cnn") for kind in SEQUENCES},
    }
    verdict = verdict_of(effects)
    return Result(
        verdict=verdict,
        effects=effects,
        shown=_shown(effects),
        advice=_advice(verdict),
        needed="More seeds and steps, as in the full setting." if verdict == NOT_DECIDED else "",
        told=_told(settings),
        sizes=_sizes(settings),
        curves={"accuracy": {arm: measured.of(arm, "validation") for arm in measured.values},
                "chance": {kind: 1 / classes for kind, classes in KINDS.items()}},
    )  # fmt: skip


def verdict_of(effects: Mapping[str, Effect]) -> str:
    """Requires all to hold; where only a sign that flips between matchings or data sets fails, it depends on them."""
    pictures = [effect for name, effect in effects.items() if name.startswith("pictures")]
    sequences = [effects[kind] for kind in SEQUENCES]
    plain = [all_of(*(effect.verdict for effect in part)) for part in (pictures, sequences)]
    if plain[1] == HOLDS and flips(pictures):
        return depends_on("the matching")
    if plain[0] == HOLDS and flips(sequences):
        return depends_on("the data set")
    return all_of(*plain)


def flips(effects: Sequence[Effect]) -> bool:
    """Whether one of them is decided above the margin and another one below zero."""
    return any(effect.verdict == HOLDS for effect in effects) and any(
        effect.ends(DECIDING)[1] < 0 for effect in effects
    )


def _told(settings: Settings) -> dict[str, str]:
    descriptions = {}
    for kind in KINDS:
        length = settings.length if kind in SEQUENCES else SIDE
        for name, design in designs(kind).items():
            seen = networks.told(design, length) if kind in SEQUENCES else "nothing (grids)"
            descriptions[f"{kind}, {name}"] = seen
    return descriptions


def _sizes(settings: Settings) -> dict[str, dict[str, int]]:
    sizes = {}
    for kind in KINDS:
        for name, design in designs(kind).items():
            facts = {"design": design, "kind": kind, "pixels": name == IN_PIXELS}
            shape = (1, 1, SIDE * SIDE) if facts["pixels"] else (1, 1, SIDE, SIDE)
            example = torch.zeros((1, 1, settings.length) if kind in SEQUENCES else shape)
            sizes[f"{kind}, {name}"] = networks.sizes(network_of(facts, 0), example)
    return sizes


def _shown(effects: Mapping[str, Effect]) -> str:
    def in_points(name: str) -> str:
        low, high = interval(effects[name].values, 0.995)
        return f"{100 * effects[name].mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"

    return (
        "Permuted positions cost the convolutional network "
        f"{in_points('pictures, equal parameters')} points more than the recurrent one on pictures; they cost the "
        f"recurrent one {in_points(MOTIFS)} points more on the order of motifs and {in_points(REGIMES)} on regimes."
    )


def _advice(verdict: str) -> str:
    if verdict == HOLDS:
        return "Take convolutions where neighbours in a grid belong together, recurrence where the order counts."
    if verdict == depends_on("the data set"):
        return "For sequences try both families: which of them needs the order more changes with the data."
    return (
        ""
        if verdict == NOT_DECIDED
        else "Both families use neighbourhood and order: let validation choose between them."
    )


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws lines from intact to permuted, a panel for each kind of data."""
    from pipeline.differences.drawing import FAMILY, figure, legend

    curves = result["curves"]
    drawn = figure(7.4, 3.8)
    panels = drawn.subplots(1, len(curves["chance"]), sharey=True)
    looks = {"cnn": ("cnn", "o", "-"), EQUAL_COST: ("cnn", "s", "--"), "rnn": ("rnn", "^", "-"),
             IN_PIXELS: ("rnn", "D", ":")}  # fmt: skip
    for axes, kind in zip(panels, KINDS, strict=True):
        for name, (family, marker, dash) in looks.items():
            if f"{kind}, {name}, intact" not in curves["accuracy"]:
                continue
            rows = [curves["accuracy"][f"{kind}, {name}, {form}"] for form in FORMS]
            means = [sum(row) / len(row) for row in rows]
            half = [max(interval(row, 0.95)[1] - mean, 0.0) for row, mean in zip(rows, means, strict=True)]
            axes.errorbar([0, 1], means, half, color=FAMILY[family], marker=marker, linestyle=dash, label=name)
        axes.axhline(curves["chance"][kind], linewidth=0.8, linestyle=":", color="black")
        axes.set_xticks([0, 1], FORMS)
        axes.set(title=kind, xlim=(-0.3, 1.3), ylim=(0, 1.05))
    panels[0].set_ylabel("accuracy (bars: 95 %)")
    legend(drawn, panels[0], columns=4)
    return drawn
