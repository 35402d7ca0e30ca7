"""The names of the baselines and guesses that each task compares candidates with; a candidate cannot have one of them.

It is stored next to the tasks, so that a new name reruns no search. A test compares it with what the tasks return.
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
GUESSES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("image_classification", "sentiment_analysis", "series_classification"), ("most_common_class",)),
    "translation": ("most_common_sentence", "copied_source"),
    "forecasting": ("train_mean", "last_value"),
    "image_generation": ("level_histogram",),
    "object_detection": ("constant_box", "constant_boxes"),
    "speech_recognition": ("empty_transcript", "most_common_transcript"),
    "style_transfer": ("unchanged_content", "mean_colour"),
}
