"""The sentence at the top of a report for every way a comparison can end."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.report.formatting import compact, decimals_for, duration, plain, signed
from pipeline.report.leaderboard import differences, leaderboard
from pipeline.report.verdict import strongest, verdict

BETTER, EQUAL, WORSE = (0.02, 0.01, 0.03), (0.01, -0.01, 0.03), (-0.02, -0.03, -0.01)


def metrics(rival: Any, baseline: Any, *, maximize: bool = True) -> dict[str, Any]:
    """`a` is the challenger; rival and baseline are its leads over `b` and `c`; None: there is no such model."""
    models: dict[str, Any] = {"a": {"kind": "candidate", "test": {"score": {"value": 0.9, "low": 0.88, "high": 0.92}}}}
    differences = {}
    for name, kind, lead in (("b", "candidate", rival), ("c", "baseline", baseline)):
        if lead:
            models[name] = {"kind": kind, "test": {"score": {"value": 0.9}}}
            gap, low, high = lead if maximize else (-lead[0], -lead[2], -lead[1])
            differences[f"{name} − a"] = {"a": name, "b": "a", "difference": -gap, "low": -high, "high": -low}
    common = {"challenger": "a", "score": "score", "maximize": maximize, "confidence": 0.95}
    return {**common, "models": models, "differences": differences}


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize(
    ("rival", "baseline", "sentence"),
    [
        (BETTER, BETTER, "a beats b and the baseline c."),
        (BETTER, EQUAL, "a beats b, but is not shown to differ from the baseline c."),
        (BETTER, WORSE, "The baseline c beats a; a beats b."),
        (EQUAL, BETTER, "a is not shown to differ from b; a beats the baseline c."),
        (EQUAL, EQUAL, "a is not shown to differ from b or from the baseline c."),
        (EQUAL, WORSE, "The baseline c beats a; a is not shown to differ from b."),
        (WORSE, BETTER, "b beats a on test, although validation picked a; a beats the baseline c."),
        (
            WORSE,
            EQUAL,
            "b beats a on test, although validation picked a; a is not shown to differ from the baseline c.",
        ),
        (WORSE, WORSE, "The baseline c beats a; b beats a on test, although validation picked a."),
        (None, WORSE, "The baseline c beats a."),
        (BETTER, None, "a beats b; there is no baseline to beat."),
        (None, EQUAL, "a is not shown to differ from the baseline c."),
        (None, None, "a has nothing to be compared with."),
    ],
)
def test_headline_names_winner_and_baseline(rival: Any, baseline: Any, sentence: str, maximize: bool) -> None:
    assert verdict(metrics(rival, baseline, maximize=maximize)).headline == sentence


def test_a_baseline_that_does_as_well_is_said_plainly() -> None:
    assert (
        verdict(metrics(BETTER, EQUAL))
        .details[-1]
        .endswith("a network is not shown to be worth its cost: c is not shown to be worse.")
    )
    assert "worth its cost" not in " ".join(verdict(metrics(BETTER, BETTER)).details)


def test_a_lead_counts_only_if_interval_and_test_agree() -> None:
    found = metrics(BETTER, BETTER)
    found["differences"]["b − a"]["p_value"] = 0.12  # few but lopsided disagreements: the exact test is not convinced
    found["differences"]["c − a"]["p_value"] = 0.001
    assert verdict(found).headline == "a is not shown to differ from b; a beats the baseline c."


def test_models_that_are_not_shown_to_differ_are_told_with_what_the_examples_could_show() -> None:
    found = metrics(BETTER, EQUAL)
    found["differences"]["c − a"] |= {"units": 360.0, "doubt": "a few extreme examples decide it"}
    assert verdict(found).details[2] == (
        "It is 0.010 ahead of c (−0.010 to +0.030): not shown to differ, 360 independent examples are too few for less "
        "than 0.020. The interval is a rough one: a few extreme examples decide it."
    )


def test_whole_interval_on_one_side_is_a_lead_and_never_a_tie() -> None:
    """0.56 against 0.66 with an interval that leaves zero out."""
    assert verdict(metrics(None, (-0.10, -0.16, -0.04))).headline == "The baseline c beats a."


def test_baseline_is_the_one_that_validation_picks_and_not_the_best_on_test() -> None:
    found = metrics(None, EQUAL)
    found["models"]["c"] |= {"validation": {"score": 0.8}}
    found["models"]["d"] = {"kind": "baseline", "test": {"score": {"value": 0.95}}, "validation": {"score": 0.7}}
    found["differences"]["a − d"] = {"a": "a", "b": "d", "difference": -0.05, "low": -0.09, "high": -0.01}
    assert verdict(found).headline == "a is not shown to differ from the baseline c."


def test_class_that_is_never_predicted_and_one_without_test_examples_are_said() -> None:
    found = metrics(BETTER, BETTER) | {"untested_classes": ["rare"]}
    found["models"]["a"]["never_predicted"] = [f"class {number}" for number in range(7)]
    found["models"]["c"]["never_predicted"] = ["b"]
    assert verdict(found).details[-2:] == (
        "No test example is of the class rare: how often the model is right there is unknown.",
        "a never predicts the classes class 0, class 1, class 2, class 3, class 4 and 2 more on test.",
    )


def test_numbers_have_the_digits_that_their_uncertainty_allows() -> None:
    assert [decimals_for(width) for width in (0.0004, 0.014, 0.3, 5.0, 700.0, None)] == [4, 3, 2, 1, 0, 3]
    assert [plain(-0.0004), plain(-12345.678, 1), plain(None), plain(float("nan"))] == [
        "0.000",
        "−12\u202f345.7",
        "–",
        "–",
    ]
    assert [signed(0.02, 2), signed(-0.02, 2), signed(0.001, 2)] == ["+0.02", "−0.02", "0.00"]
    assert [compact(950), compact(999_900), compact(1_234_000)] == ["950", "1\u202fM", "1.23\u202fM"]
    assert [duration(0.42), duration(38.2), duration(59.7), duration(12_000)] == [
        "0.42\u202fs",
        "38\u202fs",
        "1\u202fmin 0\u202fs",
        "3\u202fh 20\u202fmin",
    ]


def with_guess(*leads: Any) -> dict[str, Any]:
    """Both candidates beat the baseline `c`; `leads` are those of `a` and `b` over the guess `most_common_class`."""
    found = metrics(BETTER, BETTER)
    found["models"]["most_common_class"] = {"kind": "guess", "test": {"score": {"value": 0.95}}}
    for name, (gap, low, high) in zip("ab", leads, strict=False):
        lead = {"a": name, "b": "most_common_class", "difference": gap, "low": low, "high": high, "p_value": 0.001}
        found["differences"][f"{name} − most_common_class"] = lead
    for entry in found["models"].values():
        entry.update(validation={"score": 0.9}, family="cnn" if entry["kind"] == "candidate" else None)
    return found


@pytest.mark.parametrize("leads", [(EQUAL, EQUAL), (WORSE, EQUAL), (WORSE, WORSE)])
def test_that_no_candidate_beats_a_guess_is_said_first(leads: Any) -> None:
    found = verdict(with_guess(*leads))
    assert found.headline == (
        "No candidate is shown to be better than guessing (most common class). a beats b and the baseline c."
    )
    assert found.details[1].startswith("It is 0.0") and "most_common_class" in found.details[1]


@pytest.mark.parametrize("leads", [(BETTER, BETTER), (WORSE, BETTER), (BETTER,), ()])
def test_a_guess_that_some_candidate_beats_is_not_spoken_of(leads: Any) -> None:
    found = verdict(with_guess(*leads))
    assert found.headline == "a beats b and the baseline c."
    assert "most_common_class" not in " ".join(found.details)


def test_guesses_are_the_last_rows_and_neither_rivals_nor_on_the_scale() -> None:
    found = with_guess(BETTER, WORSE)
    found["models"]["most_common_class"]["test"]["score"] = {"value": 0.999, "low": 0.99, "high": 1.5}
    rows = leaderboard(found, None)["rows"]
    assert [(row["name"], row["guess"]) for row in rows][-1] == ("most_common_class", True)
    assert rows[-1]["what"] == "guess" and rows[-1]["beyond"] == "right"
    assert strongest(found, "baseline", without="a") == "c"
    shown = {(row["winner"], row["loser"]) for row in differences(found)}
    assert ("most_common_class", "b") in shown and ("a", "most_common_class") not in shown


def test_a_reference_is_shown_and_not_taken_for_a_baseline() -> None:
    found = metrics(BETTER, BETTER)
    test = {"score": {"value": 0.99, "low": 0.98, "high": 1.0}}
    for entry in found["models"].values():
        entry.update(test=test, validation={"score": 0.9}, family="cnn" if entry["kind"] == "candidate" else None)
    found["models"]["d"] = {"kind": "reference", "test": test, "validation": {"score": 0.99}}
    assert verdict(found).headline == "a beats b and the baseline c."
    rows = {row["name"]: row["what"] for row in leaderboard(found, None)["rows"]}
    assert rows["d"] == "reference" and rows["c"] == "baseline"
