"""From how many test examples on a model could ever be replaced: known before anything is trained."""

from __future__ import annotations

import math

ERROR_LEVEL = 0.05  # of a gate whose confidence is 0.95
USUAL = 0.9  # share of right answers of a champion for which the needed number is given


def outlook(count: int, error_level: float, score: str = "accuracy") -> str | None:
    """Describes a test split of `count` examples in a sentence; None for scores that are not a share of right answers.

    A model without a fault is right wherever a champion is wrong, and nowhere else do the two differ. Of d such
    examples the exact test of McNemar (1947) gives p = 2^(1-d), and the first comparison on a split needs p <
    `error_level`. A rough estimate: the interval may ask for a little more, and later comparisons ask for much more.
    """
    if score != "accuracy" or count < 1:
        return None
    errors = math.floor(1 - math.log2(error_level)) + 1  # the fewest errors of a champion that can be replaced
    needed = math.ceil(errors / (1 - USUAL) - 1e-9)
    if count < needed:
        return (
            f"test: {count} examples; a later model can replace a champion that is right on {100 * USUAL:g} % only "
            f"from about {needed} test examples on"
        )
    return (
        f"test: {count} examples; a later model can replace a champion that is right on up to about "
        f"{math.floor(1000 * (1 - errors / count)) / 10:g} %"
    )
