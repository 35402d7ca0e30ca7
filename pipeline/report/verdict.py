"""The verdict on the figures of an experiment, in sentences: who wins, by how much, and whether that is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.report.formatting import capitalised, decimals_for, enumerated, is_number, percent, plain, signed, words
from pipeline.report.results import Json

Outcome = Literal["better", "equal", "worse"]
ERROR_LEVEL = 0.05  # of evidence that does not name the one of its gate


@dataclass(frozen=True)
class Comparison:
    """One model against another on the same test examples. A positive gain means that the first is better.

    It is the comparison that the stage evaluate has stored, and with it the gate's: nothing is computed again.
    """

    other: str
    gain: float
    low: float
    high: float
    certain: bool  # the p-value is below what the confidence allows, or there is none
    units: float = 0.0  # examples, or stretches of them, that count as independent; 0: unknown
    doubt: str = ""  # why the interval is only a rough one

    @property
    def outcome(self) -> Outcome:
        """Returns better, worse, or equal (not shown to differ), as where interval and test disagree in older files."""
        if self.low > 0 and self.certain:
            return "better"
        return "worse" if self.high < 0 and self.certain else "equal"

    @property
    def smallest(self) -> float:
        """Returns the smallest difference that so many examples could show: half of the interval's width."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Verdict:
    """The short sentence for the top, and the details behind it."""

    headline: str
    details: tuple[str, ...]


def verdict(metrics: Json) -> Verdict:
    """Returns the outcome for the challenger: against the other candidates, and against the best baseline.

    Validation has picked the challenger, and picks whom it is compared with, too. The worst comes first: that no
    candidate beats a guess, then that a baseline beats the challenger.
    """
    challenger = metrics["challenger"]
    rival, baseline = (strongest(metrics, kind, without=challenger) for kind in ("candidate", "baseline"))
    against_rival, against_baseline = (compare(metrics, challenger, other) for other in (rival, baseline))
    headline = _headline(challenger, against_rival, against_baseline)
    guess = unbeaten_guess(metrics)
    against_guess = compare(metrics, challenger, guess)
    if guess:
        headline = f"No candidate is shown to be better than guessing ({words(guess)}). {headline}"
    details = [_score_sentence(metrics, challenger)]
    compared = (against_guess, against_rival, against_baseline)
    details += [_difference_sentence(metrics, challenger, comparison) for comparison in compared if comparison]
    if against_baseline and against_baseline.outcome != "better":
        reason = "is not shown to be worse" if against_baseline.outcome == "equal" else "is better"
        details.append(f"On these data a network is not shown to be worth its cost: {baseline} {reason}.")
    return Verdict(headline, (*details, *_about_classes(metrics)))


def unbeaten_guess(metrics: Json, *candidates: str) -> str | None:
    """Returns the best guess that none of the candidates (without names: of all) is shown to beat, if there is one.

    Guesses that were never compared with a candidate do not count.
    """
    models = metrics["models"]
    candidates = candidates or tuple(name for name in models if models[name]["kind"] == "candidate")
    for guess in (name for name in ranking(metrics) if models[name]["kind"] == "guess"):
        comparisons = [comparison for name in candidates if (comparison := compare(metrics, name, guess))]
        if comparisons and not any(comparison.outcome == "better" for comparison in comparisons):
            return guess
    return None


def compare(metrics: Json, subject: str, other: str | None) -> Comparison | None:
    """Returns the stored comparison of two models in the score, whichever way round it is stored."""
    for entry in metrics.get("differences", {}).values():
        if {entry["a"], entry["b"]} != {subject, other} or entry.get("score", metrics["score"]) != metrics["score"]:
            continue
        better = (1 if entry["a"] == subject else -1) * (1 if metrics["maximize"] else -1)
        low, high = sorted((better * entry["low"], better * entry["high"]))
        p_value = entry.get("p_value")
        certain = not is_number(p_value) or p_value < 1 - metrics["confidence"]
        behind = float(entry.get("units") or 0.0), str(entry.get("doubt") or "")
        return Comparison(str(other), better * entry["difference"], low, high, certain, *behind)
    return None


def asked_often(registry: Json | None, metrics: Json) -> str:
    """Describes how often the gate used the present test split, and what is left of its error level; "" if unknown."""
    evidence = [entry.get("evidence") or {} for entry in (registry or {}).get("history") or []]
    splits = [item["test_split"] for item in evidence if item.get("test_split")]
    present = [split for split in splits if split["test_digest"] == metrics.get("test_digest")]
    if not present:
        return ""
    split = present[-1]
    whole, left, following = (_share(split[name]) for name in ("error_level", "left", "next_level"))
    count = split["decisions"]
    if count == 0:
        clause = (
            f"No model was compared with a champion on this test split yet: all of its error level of {whole} is left"
        )
    else:
        models = "1 model was" if count == 1 else f"{count} models were"
        clause = f"{models} compared with a champion on this test split: {left} of its error level of {whole} is left"
    hopeless = "" if split["passable"] else ", at which no model can pass, not even one without a fault"
    return f"{clause}, and the next comparison gets {following}{hopeless}."


def about_champion(registry: Json | None, metrics: Json) -> str:
    """Warns that a baseline is better than a champion other than the challenger, which the headline is about; or ""."""
    champion = (registry or {}).get("champion") or {}
    if not champion.get("key") or champion["key"] == metrics["models"][metrics["challenger"]].get("key"):
        return ""
    present = [name for name, entry in metrics["models"].items() if entry.get("key") == champion["key"]]
    if present:
        comparison = compare(metrics, present[0], strongest(metrics, "baseline", without=present[0]))
        worse = comparison is not None and comparison.outcome == "worse"
    else:
        lines = (registry or {}).get("history") or []
        own = [line for line in lines if (line.get("challenger") or {}).get("key") == champion["key"]]
        worse = bool(own) and baseline_was_better(own[-1].get("evidence") or {})
    sentence = f"A classical baseline is significantly better than the champion, version {champion['version']}"
    return f"{sentence} ({champion['candidate']})." if worse else ""


def baseline_was_better(evidence: Json) -> bool:
    """Whether a decision's evidence has its model significantly behind the baseline."""
    comparison, split = evidence.get("over_baseline"), evidence.get("test_split") or {}
    if not comparison:
        return False
    return bool(comparison["high"] < 0 and comparison["p_value"] < split.get("error_level", ERROR_LEVEL))


def ranking(metrics: Json) -> list[str]:
    """Lists all models, the best test score first; guesses come after all others."""

    def place(name: str) -> tuple[bool, bool, float]:
        value, guessed = test_score(metrics, name).get("value"), metrics["models"][name]["kind"] == "guess"
        if not is_number(value):
            return guessed, True, 0.0
        return guessed, False, -value if metrics["maximize"] else value

    return sorted(metrics["models"], key=place)


def strongest(metrics: Json, kind: str, without: str) -> str | None:
    """Returns the model of a kind (candidate, baseline, guess) that is best on validation, but for one; None if none.

    Test reports, it does not pick: the best of several on test would look better than it is.
    """
    names = [name for name in ranking(metrics) if metrics["models"][name]["kind"] == kind and name != without]

    def place(name: str) -> float:
        value = metrics["models"][name].get("validation", {}).get(metrics["score"])
        if not is_number(value):
            return math.inf
        return -value if metrics["maximize"] else value

    return min(names, key=place, default=None)


def test_score(metrics: Json, name: str) -> dict[str, Any]:
    """Returns the score of a model on test: value, low, high."""
    return dict(metrics["models"].get(name, {}).get("test", {}).get(metrics["score"]) or {})


def score_decimals(metrics: Json) -> int:
    """Returns the decimals for all scores of an experiment: as many as the narrowest interval deserves."""
    intervals = [test_score(metrics, name) for name in metrics["models"]]
    widths = [entry["high"] - entry["low"] for entry in intervals if is_number(entry.get("low"))]
    widths = [width for width in widths if width > 0]
    return decimals_for(min(widths) / 2 if widths else None)


def lead_decimals(metrics: Json, comparison: Comparison) -> int:
    """Returns the decimals for a lead: paired differences are often far surer than the scores themselves."""
    return max(score_decimals(metrics), decimals_for((comparison.high - comparison.low) / 2))


def _share(level: float) -> str:
    """Formats an error level in two digits, which are enough: 2.5 %, 0.83 %."""
    return percent(float(f"{level:.2g}"))


def _headline(challenger: str, rival: Comparison | None, baseline: Comparison | None) -> str:
    if rival is None and baseline is None:
        return f"{challenger} has nothing to be compared with."
    if rival is None or baseline is None:
        only = _about_rival(challenger, rival) or _about_baseline(challenger, baseline)
        return f"{only}." if rival is None else f"{only}; there is no baseline to beat."
    outcomes = rival.outcome, baseline.outcome
    if outcomes == ("better", "better"):
        return f"{challenger} beats {rival.other} and the baseline {baseline.other}."
    if outcomes == ("better", "equal"):
        return f"{challenger} beats {rival.other}, but is not shown to differ from the baseline {baseline.other}."
    if outcomes == ("equal", "equal"):
        return f"{challenger} is not shown to differ from {rival.other} or from the baseline {baseline.other}."
    clauses = [_about_rival(challenger, rival), _about_baseline(challenger, baseline)]
    return f"{'; '.join(reversed(clauses) if baseline.outcome == 'worse' else clauses)}."


def _about_rival(challenger: str, comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    return {
        "better": f"{challenger} beats {comparison.other}",
        "equal": f"{challenger} is not shown to differ from {comparison.other}",
        "worse": f"{comparison.other} beats {challenger} on test, although validation picked {challenger}",
    }[comparison.outcome]


def _about_baseline(challenger: str, comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    return {
        "better": f"{challenger} beats the baseline {comparison.other}",
        "equal": f"{challenger} is not shown to differ from the baseline {comparison.other}",
        "worse": f"The baseline {comparison.other} beats {challenger}",
    }[comparison.outcome]


def _about_classes(metrics: Json) -> Iterator[str]:
    """Yields what a mean over all examples hides."""
    if untested := metrics.get("untested_classes"):
        yield f"No test example is of {_classes(untested)}: how often the model is right there is unknown."
    for name, entry in metrics["models"].items():
        if entry["kind"] == "candidate" and (classes := entry.get("never_predicted")):
            yield f"{name} never predicts {_classes(classes)} on test."


def _classes(names: list[str]) -> str:
    shown = [*names[:5], *([f"{len(names) - 5} more"] if len(names) > 5 else [])]
    return f"{'the class' if len(names) == 1 else 'the classes'} {enumerated(shown)}"


def _score_sentence(metrics: Json, name: str) -> str:
    decimals, estimate = score_decimals(metrics), test_score(metrics, name)
    interval = ""
    if is_number(estimate.get("low")):
        ends = f"{plain(estimate['low'], decimals)} to {plain(estimate['high'], decimals)}"
        interval = f" ({percent(metrics['confidence'])} interval {ends})"
    direction = "higher" if metrics["maximize"] else "lower"
    score = capitalised(words(metrics["score"]))
    rough = f" The interval is a rough one: {estimate['doubt']}." if estimate.get("doubt") else ""
    return (
        f"{score} of {name} on test: {plain(estimate.get('value'), decimals)}{interval}; {direction} is better.{rough}"
    )


def _difference_sentence(metrics: Json, name: str, comparison: Comparison) -> str:
    decimals = lead_decimals(metrics, comparison)
    interval = f"{signed(comparison.low, decimals)} to {signed(comparison.high, decimals)}"
    amount = plain(abs(comparison.gain), decimals)
    rough = f" The interval is a rough one: {comparison.doubt}." if comparison.doubt else ""
    if comparison.outcome == "equal":
        place = "behind" if comparison.gain < 0 else "ahead of"
        return f"It is {amount} {place} {comparison.other} ({interval}): {not_shown(comparison, decimals)}.{rough}"
    return f"It is {amount} {comparison.outcome} than {comparison.other} ({interval}).{rough}"


def not_shown(comparison: Comparison, decimals: int) -> str:
    """Describes for two models that are not shown to differ what the examples could have shown."""
    count = f"{comparison.units:.0f}" if comparison.units >= 10 else f"{comparison.units:.2g}"
    examples = "the examples" if not comparison.units else f"{count} independent examples"
    return f"not shown to differ, {examples} are too few for less than {plain(comparison.smallest, decimals)}"
