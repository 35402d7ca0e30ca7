"""Results of differences as their stage writes them, made by hand: all verdicts, a failed control, markup as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.differences import DIFFERENCES
from pipeline.differences.result import Result, control
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED, Effect, depends_on
from pipeline.files.atomic import write_json

VERDICTS = {
    "connectivity": HOLDS,
    "data_types": depends_on("the data set"),
    "temporal_dependency": depends_on("the receptive field"),
    "features": NOT_DECIDED,
    "sharing": DOES_NOT_HOLD,
    "memory": HOLDS,
    "training": "holds, but not for cnn alone",
    "parallelism": HOLDS,
    "variants": NOT_DECIDED,
    "uses": DOES_NOT_HOLD,
}
SVG = (
    '<?xml version="1.0"?>\n<svg width="504pt" height="302.4pt" xmlns="http://www.w3.org/2000/svg"><g id="a"/></svg>\n'
)


def effects(name: str) -> dict[str, Effect]:
    """Two, of which the main one does not come first by its name."""
    values = (0.5, 0.6, 0.4, 0.5, 0.55, 0.45, 0.5, 0.52)
    minor = tuple(-value / 10 for value in values)
    return {"main": Effect(f"{name}, rnn − cnn", "share", values, 0.05), "another": Effect("other", "bits", minor)}


def described(name: str, **changes: Any) -> dict[str, Any]:
    """The contents of differences/results/<name>.json."""
    verdict = VERDICTS[name]
    open_ = verdict == NOT_DECIDED
    result = Result(
        verdict, effects(name), f"It is ahead & <b>well</b> ({name}).", "" if open_ else "Take it | or leave it.",
        needed="Ten seeds of the full setting." if open_ else "", told={"gru": "nothing", "cnn": "field 15 of T = 80"},
        sizes={"gru": {"parameters": 8402, "multiply_adds": 633696}, "cnn": {"parameters": 8327, "multiply_adds": 1}},
        controls={"leak": control(0.51, "0.5", True), "ablation": control(2.0, "above 2.5", name != "memory")},
    )  # fmt: skip
    facts = {
        "name": name, "title": DIFFERENCES[name], "key": name[0] * 64, "claim": f"Claim of {name}.", "setting": "quick",
        "scope": "networks trained from scratch", "budget": {"seeds": 8, "rates": [0.001, 0.01], "margin": 0.05},
        "machine": "Linux, x86_64, AMD EPYC, avx avx2", "rates": {"gru": {"0.001": 0.98, "0.01": 1.0}},
        "picked": {"gru": 0.01, "cnn": 0.001},
    }  # fmt: skip
    return {**facts, **result.described(), **changes}


def write_result(name: str, **changes: Any) -> None:
    """Result and figure in the working directory."""
    folder = Path("differences", "results")
    write_json(folder / f"{name}.json", described(name, **changes))
    (folder / f"{name}.svg").write_text(SVG, encoding="utf-8")
