"""What the report says about prepared data, by what they are."""

from __future__ import annotations

from typing import Any

from pipeline.report.data_card import described
from pipeline.report.page import commands

COUNTS = {"train": 6, "validation": 2, "test": 2}


def facts(**card: Any) -> tuple[str, dict[str, str]]:
    found = described({"counts": COUNTS, **card})
    return found["unit"], found["facts"]


def test_labelled_series_are_told_by_channels_steps_classes_and_gaps() -> None:
    unit, found = facts(
        shape="sequence",
        columns=["x", "y"],
        classes=["a", "b"],
        steps={"train": [7, 26], "validation": [9, 9]},
        missing={"train": {"x": 2, "y": 1}, "validation": {"x": 0, "y": 0}},
        missing_rule="linear",
    )
    assert unit == "series"
    assert found == {
        "Channels": "2",
        "Steps in train": "7 to 26",
        "Steps in validation": "9",
        "Classes": "2",
        "Missing values": "3 in train; filled by the rule “linear”",
    }


def test_a_forecast_is_told_by_how_far_it_looks() -> None:
    unit, found = facts(shape="sequence", columns=["co2"], horizon=26, lookback=104, season=52)
    assert unit == "rows"
    assert found["Forecast"] == "26 rows ahead from 104 rows; season 52" and found["Missing values"] == "none"


def test_a_card_can_tell_of_its_data_in_its_own_words() -> None:
    unit, found = facts(shape="sequence", unit="recordings", facts={"Words in train": "7"})
    assert (unit, found) == ("recordings", {"Words in train": "7"})


def test_images_are_told_by_their_size() -> None:
    unit, found = facts(shape="grid", channels=1, height=8, width=8, maximum=16, classes=["0", "1"])
    assert unit == "images"
    assert found["Size"] == "1 × 8 × 8 (channels × height × width)" and found["Classes"] == "2"
    assert "Classes" not in facts(shape="grid", channels=3, height=8, width=8, maximum=255)[1], "photographs have none"


def test_text_is_told_by_its_tokens() -> None:
    means = {"train": 14.25, "validation": 14.0, "test": 13.5}
    unit, found = facts(
        shape="sequence", tokenizer="…", vocabulary=8000, mean_tokens=means, lowercase=True, classes=["bad", "good"]
    )
    assert unit == "sentences"
    assert found["Tokens of a sentence of train"] == "14.25" and found["Classes"] == "2"
    assert found["Vocabulary"] == "8\u202f000" and found["Case"] == "all text in lower case"
    unit, found = facts(
        shape="sequence", source_tokenizer="…", source_vocabulary=6000, target_vocabulary=5000, lowercase=False,
        mean_tokens={part: [mean, mean + 1] for part, mean in means.items()}, missing={},
    )  # fmt: skip
    assert unit == "pairs of sentences"
    assert found["Tokens of a pair of test"] == "13.5 source, 14.5 target" and found["Case"] == "as written"
    assert not any("Missing" in name or "Forecast" in name for name in found), "sentences have no gaps"


def test_commands_in_remarks_are_code_and_nothing_else_is_markup() -> None:
    assert commands("`dvc pull` brings <b>it</b> `back") == "<code>dvc pull</code> brings &lt;b&gt;it&lt;/b&gt; `back"
