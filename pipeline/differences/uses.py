"""Does the textbook's table of uses pick the right family?

Claim: convolutional networks for classification, detection, generation and style; recurrent networks for translation,
sentiment, speech and forecasting.

Data: the measured results of this project, docs/results, of all that were published for a use. Nothing is trained.
Every use counts the same, and so does every data set within a use. Series classification is kept apart: the list does
not name it.

Statistic: the loss of the family that a rule picks, less that of the other rule's pick, as a share of the larger loss
of the two families. Losses are what is left to the best possible score (1 of a share, 100 of BLEU) or the score itself
where lower is better. Four rules: the textbook, always convolutional, always recurrent, and validation. Intervals come
from those of the paired differences on test, 95 %, taken as normal and scaled to 99.5 %; test sets are independent.

Rule: the claim holds if the textbook loses at most the margin against validation, with its whole interval, and no use
is decided against it; it does not hold if two uses are; else nothing is decided.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pipeline.differences.paired import Arm, Measured
from pipeline.differences.result import Result
from pipeline.differences.verdicts import DECIDING, DOES_NOT_HOLD, HOLDS, NOT_DECIDED, Estimated
from pipeline.params import ParamsError, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "Convolutional networks suit pictures; recurrent networks suit language, speech and series."
RESULTS = Path("docs/results")
TEXTBOOK = {  # task → the family that textbooks name
    "image_classification": "cnn", "object_detection": "cnn", "image_generation": "cnn", "style_transfer": "cnn",
    "translation": "rnn", "sentiment_analysis": "rnn", "speech_recognition": "rnn", "forecasting": "rnn",
}  # fmt: skip
APART = "series_classification"
BEST = {"bleu": 100.0}  # of other scores that are better when higher: 1
RULES = ("textbook", "always cnn", "always rnn", "validation")
NORMAL = 1.959964  # half of a 95 % interval in standard errors


class Settings(Section):
    margin: Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Measurement:
    """Both families on one data set: losses on test, the error of their difference, and whom validation picks."""

    experiment: str
    task: str
    losses: Mapping[str, float]  # family → loss
    error: float  # standard error of the difference of the losses
    validation: str

    @property
    def scale(self) -> float:
        return max(self.losses.values()) or 1.0

    def regret(self, family: str, other: str) -> tuple[float, float]:
        """Returns the excess loss of one family over another, as a share, and its variance."""
        if family == other:
            return 0.0, 0.0
        return (self.losses[family] - self.losses[other]) / self.scale, (self.error / self.scale) ** 2

    def pick(self, rule: str) -> str:
        if rule == "textbook":
            return TEXTBOOK[self.task]
        return self.validation if rule == "validation" else rule.removeprefix("always ")


def arms(settings: Settings) -> dict[str, Arm]:
    return {}


def measurements(folder: Path = RESULTS) -> list[Measurement]:
    """Reads all published results with a candidate of either family. Raises ParamsError where there are none."""
    entries = [_measurement(json.loads(file.read_text(encoding="utf-8"))) for file in sorted(folder.glob("*.json"))]
    kept = [entry for entry in entries if entry is not None]
    if missing := sorted(set(TEXTBOOK) - {entry.task for entry in kept}):
        raise ParamsError(f"{folder}: no result of {', '.join(missing)}; `python -m pipeline results` writes them")
    return kept


def _measurement(facts: Mapping[str, Any]) -> Measurement | None:
    score, task = facts["score"], facts["task"]
    names = {model["family"]: name for name, model in facts["models"].items() if model.get("family")}
    if set(names) != {"cnn", "rnn"} or task not in (*TEXTBOOK, APART):
        return None
    sign = -1 if facts["maximize"] else 1
    top = BEST.get(score, 1.0) if facts["maximize"] else 0.0
    models = {family: facts["models"][name] for family, name in names.items()}
    losses = {family: top + sign * model["test"][score]["value"] for family, model in models.items()}
    known = {family: sign * model["validation"][score] for family, model in models.items()}
    difference = facts["differences"][" − ".join(sorted(names.values()))]
    error = (difference["high"] - difference["low"]) / (2 * NORMAL)
    return Measurement(facts["experiment"], task, losses, error, min(sorted(known), key=lambda family: known[family]))


def regret_of_use(entries: Sequence[Measurement], rule: str, other: str) -> tuple[float, float]:
    """Averages over the data sets of a use, with a variance; `other` is a rule too, or "other family"."""
    each = []
    for entry in entries:
        mine = entry.pick(rule)
        theirs = {"cnn": "rnn", "rnn": "cnn"}[mine] if other == "other family" else entry.pick(other)
        each.append(entry.regret(mine, theirs))
    return _mean(each)


def _mean(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Returns mean and variance of the mean of independent values."""
    return sum(value for value, _ in parts) / len(parts), sum(variance for _, variance in parts) / len(parts) ** 2


def judge(measured: Measured, settings: Settings) -> Result:
    """Judges by all uses that the list names."""
    published = measurements()
    by_use = {task: [entry for entry in published if entry.task == task] for task in TEXTBOOK}
    lost = _mean([regret_of_use(entries, "textbook", "validation") for entries in by_use.values()])
    main = Estimated.of(
        "lead of the textbook's picks over those of validation, as a share of the larger loss, mean over uses", "share",
        -lost[0], lost[1], margin=-settings.margin,
    )  # fmt: skip
    uses = {
        task: Estimated.of(
            f"lead of the textbook's family ({TEXTBOOK[task]}) on {task.replace('_', ' ')}", "share",
            -regret_of_use(entries, "textbook", "other family")[0],
            regret_of_use(entries, "textbook", "other family")[1],
        )
        for task, entries in by_use.items()
    }  # fmt: skip
    wrong = [task for task, effect in uses.items() if effect.verdict == DOES_NOT_HOLD]
    verdict = verdict_of(main.verdict, len(wrong))
    return Result(
        verdict=verdict,
        effects={"textbook against validation": main, **uses},
        shown=_shown(uses, main, wrong),
        advice=_advice(verdict),
        needed="More data sets for each use: `python -m pipeline results` adds those that are measured here."
        if verdict == NOT_DECIDED
        else "",
        told={"all": "nothing: their recipes search the same budget for both families"},
        curves={
            "rules": {rule: _mean([_loss(entries, rule) for entries in by_use.values()])[0] for rule in RULES},
            "uses": {task: [_row(entry) for entry in published if entry.task == task] for task in (*TEXTBOOK, APART)},
        },
    )


def verdict_of(main: str, wrong: int) -> str:
    """Judges by the main effect and the number of uses that are decided against the textbook."""
    if wrong >= 2:
        return DOES_NOT_HOLD
    return HOLDS if main == HOLDS and not wrong else NOT_DECIDED


def _loss(entries: Sequence[Measurement], rule: str) -> tuple[float, float]:
    """Returns the regret of a rule against the family that test itself has picked, for orientation only."""
    each = []
    for entry in entries:
        best = min(sorted(entry.losses), key=lambda family: entry.losses[family])
        each.append(entry.regret(entry.pick(rule), best))
    return _mean(each)


def _row(entry: Measurement) -> dict[str, Any]:
    """Describes the lead of the convolutional network on one data set, as a share of the larger loss."""
    value, variance = entry.regret("rnn", "cnn")
    return {"experiment": entry.experiment, "lead of the cnn": value, "error": sqrt(variance)}


def _shown(uses: Mapping[str, Estimated], main: Estimated, wrong: Sequence[str]) -> str:
    right = [task for task, effect in uses.items() if effect.verdict == HOLDS]
    low, high = main.ends(DECIDING)
    lost = f", and against it on {_listed(wrong)}" if wrong else ", and on none against it"
    return (
        f"Of eight uses the textbook's family is decided ahead on {len(right)} ({_listed(right) or 'none'}){lost}; its "
        f"picks lose {-main.mean:+.2f} ({-high:+.2f} to {-low:+.2f}) of the larger loss against those of validation."
    )


def _listed(tasks: Sequence[str]) -> str:
    return ", ".join(task.replace("_", " ") for task in tasks)


def _advice(verdict: str) -> str:
    if verdict == HOLDS:
        return "The textbook's table is a good first guess; validation costs little more and needs no table."
    if verdict == DOES_NOT_HOLD:
        return "Do not choose the family by the use: train both and let validation pick."
    return ""


def draw(result: Mapping[str, Any]) -> Figure:
    """Draws a forest plot by use: the lead of either family, with the side of the textbook shaded."""
    from pipeline.differences.drawing import FAMILY, figure

    rows = [(task, row) for task, entries in result["curves"]["uses"].items() for row in entries]
    drawn = figure(7.0, 0.8 + 0.3 * len(rows))
    axes = drawn.add_subplot()
    for place, (task, row) in enumerate(rows):
        value, error = row["lead of the cnn"], row["error"]
        side = TEXTBOOK.get(task)
        if side is not None:
            axes.barh(place, 1.05 if side == "cnn" else -1.05, height=1.0, color=FAMILY[side], alpha=0.10, zorder=0)
        colour = FAMILY["cnn" if value > 0 else "rnn"]
        axes.plot([value - 2.807 * error, value + 2.807 * error], [place] * 2, color=colour, linewidth=1)
        axes.plot([value - NORMAL * error, value + NORMAL * error], [place] * 2, color=colour, linewidth=4)
        axes.plot(value, place, "o", color="white", markeredgecolor="black", markersize=5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{task.replace('_', ' ')}: {row['experiment']}" for task, row in rows])
    axes.set(xlim=(-1.05, 1.05), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlabel("recurrent ahead ← share of the larger loss → convolutional ahead\n"
                    "shaded: the textbook's side; thick 95 %, thin 99.5 %", fontsize=8)  # fmt: skip
    return drawn
