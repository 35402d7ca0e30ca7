"""The gate promotes on evidence only."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.registry.gate import Decision, Names, could_pass, decide, kept_out, needed_to_pass

OPTIONS = {"dependent": False, "resamples": 2000, "confidence": 0.95, "margin": 0.0, "seed": 0}


def decision(challenger: float, champion: float | None, baseline: float | None, **changed: object) -> Decision:
    """Accuracies on 400 examples; models with a higher share are right wherever the others are."""
    examples = np.linspace(0, 1, 400, endpoint=False)
    scores = [None if share is None else (examples < share).astype(float) for share in (challenger, champion, baseline)]
    assert scores[0] is not None
    return decide(scores[0], scores[1], baseline_scores=scores[2], **{"maximize": True, **OPTIONS, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("challenger", "champion", "baseline", "promoted", "said"),
    [
        (0.90, None, 0.80, True, "first version that passes; better than the baseline"),
        (0.90, None, 0.90, True, "first version that passes; not shown to differ from the baseline"),
        (0.90, None, None, True, "there is no baseline to compare with"),
        (0.80, None, 0.90, False, "significantly worse than the baseline"),
        (0.90, 0.80, 0.70, True, "is better than the champion"),
        (0.90, 0.90, 0.70, False, "is not shown to be better than the champion"),
        (0.905, 0.90, 0.70, False, "is not shown to be better than the champion"),
        (0.80, 0.90, 0.70, False, "is significantly worse than the champion"),
        (0.80, 0.70, 0.90, False, "significantly worse than the baseline"),
        (0.90, 0.80, 0.90, True, "not shown to differ from the baseline"),
    ],
)
def test_decisions(
    challenger: float, champion: float | None, baseline: float | None, promoted: bool, said: str
) -> None:
    found = decision(challenger, champion, baseline)
    assert found.promoted is promoted
    assert said in found.reason


def test_interval_and_test_are_one_computation() -> None:
    """Few pairs that differ: a bootstrap leaves zero out, McNemar's exact test does not, and it decides."""
    challenger, baseline = np.ones(300), np.ones(300)
    challenger[:5] = 0
    found = decide(challenger, None, baseline_scores=baseline, **{"maximize": True, **OPTIONS})  # type: ignore[arg-type]
    assert found.over_baseline is not None and found.over_baseline.high > 0 and found.over_baseline.p_value > 0.05
    assert found.promoted and found.reason.endswith(
        "not shown to differ from the baseline: score advantage -0.017 (-0.034 to +0.001), p = 0.062; "
        "300 examples are too few to show less than 0.017."
    )


def test_lower_is_better_where_the_score_says_so() -> None:
    generator = np.random.default_rng(1)
    errors = generator.gamma(2.0, size=300)
    better = decide(errors * 0.8, errors, maximize=False, baseline_scores=errors * 1.5, **OPTIONS)  # type: ignore[arg-type]
    worse = decide(errors * 1.2, errors, maximize=False, baseline_scores=errors * 1.5, **OPTIONS)  # type: ignore[arg-type]
    assert better.promoted and better.over_champion is not None and better.over_champion.difference > 0
    assert not worse.promoted


def test_margin_must_be_passed_by_the_whole_interval() -> None:
    assert decision(0.90, 0.80, None, margin=0.05).promoted
    refused = decision(0.90, 0.80, None, margin=0.09)
    assert not refused.promoted
    assert "not surely by more than the margin of 0.09" in refused.reason


def test_reason_names_the_models_and_the_score() -> None:
    names = Names("digits-cnn", "version 3 (digits-rnn)", "svc", "accuracy")
    reason = decision(0.9, 0.8, 0.7, names=names).reason
    assert reason.startswith("digits-cnn is better than version 3 (digits-rnn): accuracy advantage +0.100 (+0.06")
    assert reason.endswith(".") and "better than svc: accuracy advantage +0.2" in reason


def test_equal_models_are_seldom_promoted() -> None:
    """At 95 % confidence at most 2.5 % of equally good challengers pass; the bound allows for the simulation."""
    generator = np.random.default_rng(2)
    promoted = {"accuracy": 0, "loss": 0, "windows": 0}
    runs = 400
    for run in range(runs):
        options = {**OPTIONS, "resamples": 500, "seed": run, "maximize": True, "baseline_scores": None}
        a, b = (generator.random((2, 200)) < 0.9).astype(float)
        promoted["accuracy"] += decide(a, b, **options).promoted  # type: ignore[arg-type]
        a, b = generator.gamma(1.0, size=(2, 200))
        promoted["loss"] += decide(a, b, **options).promoted  # type: ignore[arg-type]
        steps = generator.standard_normal((2, 325))
        a, b = (np.convolve(row, np.ones(26) / 26, "valid") for row in steps)
        promoted["windows"] += decide(a, b, **{**options, "dependent": True, "block": 52}).promoted  # type: ignore[arg-type]
    assert all(count / runs <= 0.05 for count in promoted.values()), promoted


CHANCE, COIN = np.arange(60) % 2 * 1.0, (np.arange(60) // 2) % 2 * 1.0  # both right in half of 60 examples


@pytest.mark.parametrize("champion", [None, CHANCE])
def test_model_that_only_guesses_is_never_promoted(champion: np.ndarray | None) -> None:
    names = Names("cnn", "version 1", "svc", "accuracy")
    guesses = {"most_frequent": CHANCE, "worst": np.zeros(60)}
    options = {**OPTIONS, "maximize": True, "baseline_scores": None, "names": names}
    found = decide(COIN, champion, guess_scores=guesses, **options)  # type: ignore[arg-type]
    assert not found.promoted
    assert found.reason == (
        "cnn is not shown to be better than most_frequent, which only guesses: accuracy advantage +0.00 "
        "(-0.19 to +0.19), p = 1; more examples would not help, as it is not ahead."
    )
    assert set(found.evidence()["over_guess"]) == {"most_frequent", "worst"}
    assert (found.level is None) == (champion is None)


def test_reason_says_how_many_examples_would_show_that_a_model_does_not_guess() -> None:
    slightly = CHANCE.copy()
    slightly[:10] = 1  # 0.583 against 0.500
    options = {**OPTIONS, "maximize": True, "baseline_scores": None}
    refused = decide(slightly, None, guess_scores={"most_frequent": CHANCE}, **options)  # type: ignore[arg-type]
    assert not refused.promoted and "would take about 88 test examples." in refused.reason
    enough = [np.tile(scores, 2) for scores in (slightly, CHANCE)]
    assert decide(enough[0], None, guess_scores={"most_frequent": enough[1]}, **options).promoted  # type: ignore[arg-type]


def test_model_that_beats_every_guess_is_judged_as_before() -> None:
    options = {**OPTIONS, "maximize": True, "baseline_scores": None}
    plain = decide(np.ones(60), None, **options)  # type: ignore[arg-type]
    found = decide(np.ones(60), None, guess_scores={"most_frequent": CHANCE}, **options)  # type: ignore[arg-type]
    assert found.promoted and found.reason == plain.reason
    assert found.over_guess["most_frequent"].low > 0


def test_evidence_is_plain_json() -> None:
    import json

    evidence = json.loads(json.dumps(decision(0.9, 0.8, None).evidence()))
    assert evidence["over_baseline"] is None
    assert evidence["over_champion"]["difference"] == pytest.approx(0.1)
    assert evidence["over_champion"]["p_value"] < 0.001


def test_level_of_the_decision_sets_interval_and_test_of_the_champion_only() -> None:
    plain, strict = decision(0.90, 0.87, 0.70), decision(0.90, 0.87, 0.70, level=1e-4)
    assert plain.promoted and not strict.promoted
    assert (plain.level, strict.level) == (pytest.approx(0.025), 1e-4)
    assert plain.over_champion is not None and strict.over_champion is not None
    assert plain.over_champion.low > 0 > strict.over_champion.low
    assert plain.over_champion.p_value == strict.over_champion.p_value == pytest.approx(2 * 0.5**12)
    assert strict.over_baseline == plain.over_baseline
    assert "at the error level 0.0001 (interval of 99.98 %, p below 0.0002); 400 examples are too few" in strict.reason


def test_level_is_the_error_of_one_side() -> None:
    """Five examples that only the challenger gets right have a p-value of 0.0625, six of 0.03125, on both sides."""
    base = np.arange(400) < 300
    promoted = {}
    for more in (5, 6):
        better = np.arange(400) < 300 + more
        promoted[more] = [
            decide(better * 1.0, base * 1.0, baseline_scores=None, maximize=True, level=level, **OPTIONS).promoted  # type: ignore[arg-type]
            for level in (0.032, 0.025, 0.015)
        ]
    assert promoted == {5: [True, False, False], 6: [True, True, False]}


def test_level_far_below_what_resamples_show_can_still_be_passed() -> None:
    """2,000 resamples know no tail of 1e-7: the normal distribution continues it, or no late decision could pass."""
    errors = np.random.default_rng(3).gamma(2.0, size=500)
    options = {**OPTIONS, "maximize": False, "baseline_scores": None, "level": 1e-7}
    noise = np.random.default_rng(4).normal(size=500)
    assert decide(errors * 0.7, errors, **options).promoted  # type: ignore[arg-type]
    slight = decide(errors - 0.1 + 0.5 * noise, errors, **options)  # type: ignore[arg-type]
    assert slight.over_champion is not None and 1e-7 < slight.over_champion.p_value < 1e-3
    assert not slight.promoted


def test_first_version_has_no_level() -> None:
    assert decision(0.9, None, 0.8).level is None
    assert decision(0.9, None, 0.8).evidence()["level"] is None


def test_broken_limit_keeps_out_whatever_the_score_says() -> None:
    names = Names(challenger="cnn", score="accuracy")
    unasked = kept_out(["limits.megabytes: too heavy"], names)
    assert (unasked.promoted, unasked.over_champion, unasked.level) == (False, None, None)
    assert unasked.reason == "cnn is not promoted, whatever its accuracy: limits.megabytes: too heavy."
    asked = kept_out(["limits.worst_class: too low"], names, decision(0.9, 0.8, None))
    assert not asked.promoted and asked.over_champion is not None
    assert "too low. Without that limit: the challenger is better than the champion" in asked.reason
    assert asked.evidence()["broken_limits"] == ["limits.worst_class: too low"]


@pytest.mark.parametrize(
    ("mistakes", "level", "possible"),
    [(5, 0.025, False), (5, 0.035, True), (7, 0.0083, True), (7, 0.0042, False), (0, 0.05, False)],
)
def test_champion_with_few_mistakes_leaves_no_room_for_a_proof(mistakes: int, level: float, possible: bool) -> None:
    """Of m mistakes a faultless model corrects m: McNemar's p-value is 2 to the power of 1 - m, of both sides."""
    scores = np.ones(400)
    scores[:mistakes] = 0
    options = {"dependent": False, "block": None, "resamples": 2000, "margin": 0.0, "seed": 0}
    assert could_pass(scores, maximize=True, level=level, **options) is possible  # type: ignore[arg-type]


def test_nothing_is_said_of_scores_whose_best_value_nobody_knows() -> None:
    options = {"dependent": False, "block": None, "resamples": 200, "margin": 0.0, "seed": 0}
    gains = np.random.default_rng(5).normal(size=50)
    assert could_pass(gains, maximize=True, level=1e-9, **options)  # type: ignore[arg-type]
    assert could_pass(gains, maximize=False, level=1e-9, **options)  # type: ignore[arg-type]
    errors = np.array([0.0] * 49 + [1.0])
    assert not could_pass(errors, maximize=False, level=1e-3, **options)  # type: ignore[arg-type]


def test_no_number_of_examples_is_said_to_be_enough_that_was_too_few_already() -> None:
    """Errors that rise slowly leave two or three independent stretches, whose spread the estimate takes for known."""
    errors = np.linspace(0.3, 0.6, 317) + 0.02 * np.random.default_rng(0).random(317)
    options = {"level": 0.025, "margin": 0.0, "dependent": True, "block": 52, "maximize": False}
    assert not could_pass(errors, resamples=200, seed=0, **options)  # type: ignore[arg-type]
    found = needed_to_pass(errors, **options)  # type: ignore[arg-type]
    assert found is None or found > len(errors)


def test_more_examples_are_asked_for_where_the_champion_makes_few_mistakes() -> None:
    scores = np.ones(341)
    scores[:5] = 0
    found = needed_to_pass(scores, level=0.025, margin=0.0, dependent=False, block=None, maximize=True)
    assert found is not None and found > 341
