"""The names of the baselines and guesses that each task compares candidates with; a candidate cannot have one of them.

It stands beside the tasks, so that a new name reruns no search. A test compares it with what the tasks return.
"""

from __future__ import annotations

BASELINES: dict[str, tuple[str, ...]] = {
    "image_classification": ("svc",),
    "translation": ("word_by_word",),
    "sentiment_analysis": ("logistic_regression",),
    "forecasting": ("seasonal_naive", "ridge"),
    "series_classification": ("nearest_neighbour",),
    "image_generation": ("histogram", "class_histogram"),
    "object_detection": ("components",),
    "speech_recognition": ("cepstra",),
    "style_transfer": ("recoloured", "optimised"),
}

# What the guesses of all tasks are called; no candidate may have one of these names.
GUESSES = frozenset({
    "most_common_class", "train_mean", "last_value", "constant_box", "constant_boxes", "level_histogram",
    "most_common_sentence", "copied_source", "empty_transcript", "most_common_transcript", "unchanged_content",
    "mean_colour",
})  # fmt: skip
