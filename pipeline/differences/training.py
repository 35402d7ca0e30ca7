"""Do large images cost convolutions dear, and do gradients vanish in recurrence?

Claim: large images make convolutional networks expensive to train; in recurrent networks gradients vanish.

(a) Counted, no training: multiply-adds of one square picture by its side, of a convolutional network and of a gru that
is swept over rows and columns. Statistic: the slope of a straight line through both logarithms, 2 where the cost grows
as the number of pixels. This part holds from `slope` on; where the slope of the swept network lies within `near` of it,
the cost is not specific to convolutions, and the sentence of the figure states it.

(b) Data, networks, seeds and learning rates are those of the temporal dependency, whose results are read: every
recurrent cell with two initialisations. s is the difference of both logits at the last of T steps; h(d) is the state
that the cell hands on after step T − 1 − d (of an lstm, the pair of both). Survival of the gradient:

    g(d) = sqrt(mean over sequences of |∂s/∂h(d)|²) / sqrt(mean over sequences of |∂s/∂h(0)|²),

so that g(0) = 1; measured on the same fresh sequences before the first step and after some steps of the training.
Statistic: by the rule that was fixed beforehand a gradient vanishes where g(`far`) lies below `vanished` and accuracy
at that lag is at most chance + `margin`. A network passes the first half where the largest g(`far`) over all states of
the training does: a gradient that arrives at some time has not vanished. A cell's gradients vanish where they do under
both initialisations, and part (b) holds where those of all cells do. Accuracy is that of the temporal dependency.

The rank correlation (Spearman) between g(`far`) and this accuracy, of each seed over all networks, is shown and decides
nothing; it does not exist where all networks are equally good. The claim holds where both parts do.

The trainings here see smaller batches in the quick setting, to save time; their own accuracy is a control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field

from pipeline.differences import networks
from pipeline.differences import temporal_dependency as temporal
from pipeline.differences.networks import RECURRENT, Design, made, told
from pipeline.differences.of_training.earlier import accuracy_at, earlier_results, recurrent_designs
from pipeline.differences.of_training.gradients import survival
from pipeline.differences.of_training.picture_cost import counted, sizes_of_one, slope_of
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Arm, Common, Count, Measured
from pipeline.differences.result import Result, control
from pipeline.differences.verdicts import DECIDING, DOES_NOT_HOLD, HOLDS, NOT_DECIDED, Effect, all_of, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "Large images cost convolutional networks dear; in recurrent networks gradients vanish."
LOWEST = 1e-30  # below it, a gradient counts as this


class Settings(Common):
    """`rates` and `selection_seeds` are those of the temporal dependency: nothing is picked here."""

    margin: float  # above chance
    sides: Annotated[list[Count], Field(min_length=2)]  # of pictures, pixels
    slope: float
    near: float
    states: list[Annotated[int, Field(ge=0)]]  # steps of the training before which g is measured
    lags: list[Count]  # d
    far: Count  # the lag that decides
    vanished: Annotated[float, Field(gt=0, lt=1)]
    sequences: Count  # on which g is measured


def arms(settings: Settings) -> dict[str, Arm]:
    """Takes the recurrent networks of the temporal dependency with the learning rates that it has picked."""
    known = earlier_results(settings.seeds, settings.far)
    return {
        name: Arm({"design": design, "task": known["budget"]}, rate=known["picked"][name])
        for name, design in recurrent_designs(known).items()
    }


def measure(arm: Mapping[str, Any], seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    """Measures log10 of g by state and lag within one training, and its accuracy at the lag that decides."""
    task = temporal.Settings(**arm["task"])
    network = made(seed, arm["design"], task.distractors + 3, 2)
    x = temporal.sequences(generator(seed, "survival"), settings.sequences, task)[0]
    survived: dict[str, list[float]] = {}

    def watch(state: int) -> None:
        survived[str(state)] = [float(np.log10(max(g, LOWEST))) for g in survival(network, x, settings.lags)]

    draw = generator(seed, "train")
    train(
        network, lambda: temporal.sequences(draw, settings.batch, task), temporal.loss, steps=settings.steps, rate=rate,
        watch={state: lambda state=state: watch(state) for state in settings.states},  # type: ignore[misc]
    )  # fmt: skip
    far = task.model_copy(update={"lags": [settings.far]})
    right = temporal.accuracy_by_lag(network, seed, far)[str(settings.far)]
    return {"log10_g": survived, "accuracy": right, "validation": right}


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by the counted slope and by the gradients and accuracies of all cells."""
    costs = counted(settings.sides)
    slopes = {name: slope_of(settings.sides, cost) for name, cost in costs.items()}
    grid, swept = slopes.values()
    known = earlier_results(settings.seeds, settings.far)
    designs = recurrent_designs(known)
    accuracy = {name: accuracy_at(known, name, settings.far) for name in measured.values}
    effects = {name: effect for arm in measured.values for name, effect in _effects(measured, arm, accuracy, settings)}
    by_arm = {arm: all_of(effects[f"{arm}: gradient"].verdict, effects[f"{arm}: accuracy"].verdict) for arm in accuracy}
    gradients = all_of(*by_arm.values())
    cost = HOLDS if grid >= settings.slope else DOES_NOT_HOLD
    verdict = all_of(cost, gradients)
    curves = {
        "lags": settings.lags, "far": settings.far, "vanished": settings.vanished, "states": settings.states,
        "log10_g": {name: {str(state): [value["log10_g"][str(state)] for value in values]
                           for state in settings.states} for name, values in measured.values.items()},
        "accuracy": accuracy, "verdicts": by_arm,
        "rank_correlation": {str(state): ranked(measured, accuracy, state, settings) for state in settings.states},
        "sides": settings.sides, "multiply_adds": costs, "slopes": slopes,
    }  # fmt: skip
    return Result(
        verdict=verdict,
        effects=effects,
        shown=_shown(by_arm, slopes, curves, settings),
        advice=_advice(gradients, abs(grid - swept) <= settings.near, accuracy),
        needed=_needed(by_arm) if verdict == NOT_DECIDED else "",
        told={name: told(design, known["budget"]["length"]) for name, design in designs.items()},
        sizes=_sizes(known, designs, settings),
        controls=_controls(measured, accuracy, grid, settings),
        curves=curves,
    )


def _far(measured: Measured, name: str, state: int, settings: Settings) -> list[float]:
    """Returns the logarithm of g at the lag that decides, seed by seed."""
    place = settings.lags.index(settings.far)
    return [float(value["log10_g"][str(state)][place]) for value in measured.values[name]]


def _effects(
    measured: Measured, name: str, accuracy: Mapping[str, Sequence[float]], settings: Settings
) -> list[tuple[str, Effect]]:
    """Applies both halves of the rule to a network; positive where its gradient vanishes and it learns nothing."""
    by_state = [_far(measured, name, state, settings) for state in settings.states]
    largest = [max(column) for column in zip(*by_state, strict=True)]
    below = tuple(float(np.log10(settings.vanished)) - value for value in largest)
    ceiling = temporal.CHANCE + settings.margin
    return [
        (f"{name}: gradient", Effect(f"g({settings.far}) below {settings.vanished:g}, {name}", "decades", below)),
        (
            f"{name}: accuracy",
            Effect(
                f"accuracy at lag {settings.far} below {ceiling:g}, {name}", "share",
                tuple(ceiling - value for value in accuracy[name]),
            ),
        ),
    ]  # fmt: skip


def ranked(
    measured: Measured, accuracy: Mapping[str, Sequence[float]], state: int, settings: Settings
) -> dict[str, Any]:
    """Ranks g against accuracy over the networks (Spearman), for the seeds in which neither is constant."""
    from scipy.stats import spearmanr

    survived = np.array([_far(measured, name, state, settings) for name in accuracy]).T  # (seeds, networks)
    right = np.array(list(accuracy.values())).T
    values = [
        float(spearmanr(*pair).statistic) for pair in zip(survived, right, strict=True) if np.ptp(pair, axis=1).all()
    ]
    if len(values) < 2:
        return {"value": None, "interval_995": None, "per_seed": values}
    return {"value": float(np.mean(values)), "interval_995": list(interval(values, DECIDING)), "per_seed": values}


def _sizes(known: Mapping[str, Any], designs: Mapping[str, Design], settings: Settings) -> dict[str, dict[str, int]]:
    """Returns sizes of the recurrent networks for one sequence, and of those on grids for the smallest picture."""
    task = temporal.Settings(**known["budget"])
    channels = task.distractors + 3
    sequence = torch.zeros(1, channels, task.length)
    recurrent = {name: networks.sizes(made(0, design, channels, 2), sequence) for name, design in designs.items()}
    return recurrent | sizes_of_one(settings.sides[0])


def _controls(
    measured: Measured, accuracy: Mapping[str, Sequence[float]], slope: float, settings: Settings
) -> dict[str, dict[str, Any]]:
    apart = max(abs(float(np.mean(measured.of(name, "accuracy")) - np.mean(accuracy[name]))) for name in accuracy)
    return {
        "slope of the cost of a convolutional network": control(
            slope, f"{settings.slope:g} or more", slope >= settings.slope
        ),
        "accuracy of these trainings as in the temporal dependency, largest distance of means": control(
            apart, "0.1 or less", apart <= 0.1
        ),
    }


def _shown(
    verdicts: Mapping[str, str], slopes: Mapping[str, float], curves: Mapping[str, Any], settings: Settings
) -> str:
    grid, swept = slopes.values()
    alike = abs(grid - swept) <= settings.near
    first, last = (str(settings.states[place]) for place in (0, -1))
    low, high = _range(curves, first, settings)
    late_low, late_high = _range(curves, last, settings)
    return (
        f"Multiply-adds grow with the side to the power {grid:.2f} in a convolutional network and {swept:.2f} in a "
        f"swept gru, so that this cost is {'not specific to cnn' if alike else 'of another order in both'}; from one "
        f"network to another g({settings.far}) is {low:.0e} to {high:.0e} at the start and {late_low:.0e} to "
        f"{late_high:.0e} at step {last}; {_vanishing(verdicts)}; {_correlation(curves['rank_correlation'][last])}."
    )


def _range(curves: Mapping[str, Any], state: str, settings: Settings) -> tuple[float, float]:
    """Returns the smallest and the largest geometric mean of g at the lag that decides."""
    place = settings.lags.index(settings.far)
    means = [float(np.mean([seed[place] for seed in by_state[state]])) for by_state in curves["log10_g"].values()]
    return 10 ** min(means), 10 ** max(means)


def _vanishing(verdicts: Mapping[str, str]) -> str:
    """Describes by the rule of both halves in which networks gradients vanish."""
    vanishing = [name for name, verdict in verdicts.items() if verdict == HOLDS]
    if not vanishing:
        return f"by the rule, gradients vanish in none of {len(verdicts)} networks"
    return f"by the rule, gradients vanish in {len(vanishing)} of {len(verdicts)} networks ({_listed(vanishing)})"


def _correlation(rank: Mapping[str, Any]) -> str:
    if rank["value"] is None:
        return "all networks are equally good at that lag, so that g explains no differences between them"
    low, high = rank["interval_995"]
    return (
        f"the rank correlation between it and accuracy at that lag is {rank['value']:+.2f} ({low:+.2f} to {high:+.2f})"
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"{name} (our start)" if name in RECURRENT else name for name in names)


def _advice(gradients: str, alike: bool, accuracy: Mapping[str, Sequence[float]]) -> str:
    """Advises on gradients where that is decided, and on large pictures."""
    pictures = "large pictures are no reason against convolutions alone" if alike else ""
    able = [name for name, values in accuracy.items() if float(np.mean(values)) >= 0.95]
    which = "any of the recurrent networks" if len(able) == len(accuracy) else _listed(able)
    sentences = {
        HOLDS: "do not train recurrent networks from scratch on long lags",
        DOES_NOT_HOLD: f"where short lags are trained along with long ones, {which} will do" if able else "",
    }
    parts = [part for part in (sentences.get(gradients, ""), pictures) if part]
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _needed(verdicts: Mapping[str, str]) -> str:
    undecided = [name for name, verdict in verdicts.items() if verdict == NOT_DECIDED]
    return f"More seeds and steps, as in the full setting, to decide: {_listed(undecided)}."


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws g by d, a panel for each state of the training, with the limit below which a gradient has vanished."""
    from pipeline.differences.drawing import figure

    curves = result["curves"]
    drawn = figure(7.2, 5.6)
    panels = drawn.subplots(-(-len(curves["states"]) // 2), 2, sharex=True, sharey=True, squeeze=False)
    for axes, state in zip(panels.flat, curves["states"], strict=False):
        _panel(axes, curves, state)
    for axes in panels[-1]:
        axes.set_xlabel("d (steps before the last)")
    for axes in panels[:, 0]:
        axes.set_ylabel("gradient g(d), relative to d = 0")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8,
        title=f"accuracy at lag {curves['far']}", title_fontsize=8,
    )  # fmt: skip
    return drawn


def _panel(axes: Any, curves: Mapping[str, Any], state: int) -> None:
    """Draws geometric means over the seeds: a colour for each cell, dashed with PyTorch's initialisation."""
    from pipeline.differences.drawing import MARKERS, SHADES

    for name, by_state in curves["log10_g"].items():
        place = RECURRENT.index(name.split(",")[0])
        colour, own = SHADES["rnn"][place], name in RECURRENT
        axes.plot(
            curves["lags"], 10 ** np.mean(by_state[str(state)], 0), color=colour, marker=MARKERS[place],
            linestyle="-" if own else "--", markerfacecolor=colour if own else "white", markersize=4, linewidth=1.4,
            label=f"{name}: {np.mean(curves['accuracy'][name]):.2f}",
        )  # fmt: skip
    axes.axhline(curves["vanished"], color="black", linewidth=0.8, linestyle=":")
    axes.axvline(curves["far"], color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_xticks(curves["lags"], [str(lag) for lag in curves["lags"]])
    axes.set(yscale="log", ylim=(1e-16, 30))
    rank = curves["rank_correlation"][str(state)]["value"]
    correlation = "" if rank is None else f" (rank correlation with accuracy {rank:+.2f})"
    axes.set_title(f"{f'step {state}' if state else 'start'}{correlation}", fontsize=9)
