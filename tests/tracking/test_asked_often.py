"""The report says how often the gate has asked a test split, and what that leaves for later models."""

from __future__ import annotations

from typing import Any

from pipeline.report.verdict import asked_often

METRICS = {"test_digest": "t"}


def history(*splits: dict[str, Any] | None) -> dict[str, Any]:
    return {"history": [{"evidence": {"test_split": split}} for split in splits]}


def split(decisions: int, digest: str = "t", passable: bool = True) -> dict[str, Any]:
    left = 0.05 / (decisions + 1)
    return {"test_digest": digest, "decisions": decisions, "error_level": 0.05, "left": left,
            "next_level": left / (decisions + 2), "passable": passable}  # fmt: skip


def said(*splits: dict[str, Any] | None) -> str:
    return asked_often(history(*splits), METRICS).replace("\u202f", " ")


def test_first_version_leaves_the_whole_error_level() -> None:
    assert said(split(0)) == (
        "No model was compared with a champion on this test split yet: all of its error level of 5 % is left, "
        "and the next comparison gets 2.5 %."
    )


def test_last_line_about_the_present_split_counts() -> None:
    found = said(split(1), split(2), split(9, digest="another"), None)
    assert found == (
        "2 models were compared with a champion on this test split: 1.7 % of its error level of 5 % is left, "
        "and the next comparison gets 0.42 %."
    )
    assert said(split(1)).startswith("1 model was compared")


def test_split_that_no_model_can_pass_is_said_to_be_one() -> None:
    """The advice stands in the reason of the decision, above it in the report."""
    assert said(split(3, passable=False)).endswith(
        "and the next comparison gets 0.25 %, at which no model can pass, not even one without a fault."
    )


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert said() == said(None) == said(split(1, digest="another")) == ""
    assert asked_often(None, METRICS) == ""
    assert asked_often({"history": [{"evidence": {}}, {}]}, METRICS) == ""
