"""The second training in the clone of test_pipeline.py, which has been through all faults of test_faults.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from clones import Clone

pytestmark = pytest.mark.timeout(600)


def test_an_edited_candidate_is_all_that_runs_again(whole: Clone) -> None:
    def narrower(document: dict[str, Any]) -> None:
        document["candidates"]["digits-rnn"]["parameters"]["learning_rate"]["low"] = 0.004

    before = whole.read("models/digits/digits-cnn/model.json")
    whole.edit(narrower)
    ran, _ = whole.repro()
    assert ran == ["tune@digits-rnn", "train@digits-rnn", "evaluate@digits", "register", "report"]
    assert whole.read("models/digits/digits-cnn/model.json") == before
    assert 0.004 <= json.loads(whole.read("search/digits/digits-rnn/best.json"))["parameters"]["learning_rate"] <= 0.02
