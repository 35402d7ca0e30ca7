"""What `prepare` says about the future of a test split agrees with what the gate then does."""

import numpy as np
import pytest

from pipeline.data.outlook import outlook
from pipeline.registry.gate import could_pass


def test_few_test_examples_are_said_to_be_too_few() -> None:
    said = outlook(12, 0.05)
    assert said == (
        "test: 12 examples; a later model can replace a champion that is right on 90 % only from about 60 test "
        "examples on"
    )


def test_of_more_it_says_how_good_a_champion_may_be() -> None:
    assert (
        outlook(60, 0.05) == "test: 60 examples; a later model can replace a champion that is right on up to about 90 %"
    )
    assert str(outlook(359, 0.05)).endswith("up to about 98.3 %")  # 6 errors of 359
    assert str(outlook(359, 0.01)).endswith("up to about 97.7 %")  # 8 errors: 2^-7 is below 0.01, 2^-6 is not


@pytest.mark.parametrize("count, score", [(100, "mae"), (100, "bleu"), (0, "accuracy")])
def test_it_is_silent_where_nobody_can_know(count: int, score: str) -> None:
    assert outlook(count, 0.05, score) is None


@pytest.mark.parametrize("errors, passes", [(5, False), (6, True)])
def test_the_gate_agrees_about_the_least_number_of_errors(errors: int, passes: bool) -> None:
    champion = np.r_[np.zeros(errors), np.ones(60 - errors)]
    drawing = {"dependent": False, "block": None, "resamples": 2000, "seed": 0}
    assert could_pass(champion, maximize=True, level=0.025, margin=0.0, **drawing) is passes
