"""Measures one of the ten differences between the families and writes its result and its figure."""

from __future__ import annotations

import importlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.data.folders import write_json
from pipeline.data.provenance import code_digest, content_key
from pipeline.data.threads import use_threads
from pipeline.differences import DIFFERENCES
from pipeline.differences.drawing import save_svg
from pipeline.differences.paired import measure_all
from pipeline.differences.settings import chosen
from pipeline.params import Params, ParamsError, nearest
from pipeline.tracking.machine import machine_tags

FOLDER = Path("differences")
RESULTS = FOLDER / "results"
TIMINGS = Path("timings/differences")


def main(name: str | None, params: Params) -> None:
    """Writes differences/results/<name>.json and .svg; measured seconds go to timings/."""
    if name not in DIFFERENCES:
        raise ParamsError(f"difference: found {name}; {nearest(str(name), DIFFERENCES)}")
    started = time.monotonic()
    use_threads(params.threads)
    module: Any = importlib.import_module(f"pipeline.differences.{name}")
    setting, settings = chosen(FOLDER / "params.yaml", name, module.Settings)
    code = code_digest("pipeline/stages/difference.py", f"pipeline/differences/{name}.py")
    key = content_key(difference=name, settings=settings.model_dump(), code=code, threads=params.threads)
    work = Path(".work", key)
    work.mkdir(parents=True, exist_ok=True)
    measured = measure_all(module, settings, work=work, workers=params.workers, threads=params.threads, title=name)
    described = {
        "name": name,
        "title": DIFFERENCES[name],
        "claim": module.CLAIM,
        "scope": "networks trained from scratch",
        "setting": setting,
        "budget": settings.model_dump(),
        "machine": machine_tags()["pipeline.machine"],
        "rates": measured.rates,
        "picked": measured.picked,
        **module.judge(measured, settings).described(),
    }
    _write(name, json.loads(json.dumps(described)), module)
    if hasattr(module, "after"):
        TIMINGS.mkdir(parents=True, exist_ok=True)
        module.after(measured, settings, TIMINGS)
    write_json(TIMINGS / f"{name}.json", {"seconds": round(time.monotonic() - started, 1), "key": key})
    shutil.rmtree(work, ignore_errors=True)
    print(f"difference: {DIFFERENCES[name]}: {described['verdict']} → {RESULTS / name}.json")


def _write(name: str, described: Mapping[str, Any], module: Any) -> None:
    """The figure first: the result says that both are whole."""
    save_svg(module.draw(described), RESULTS / f"{name}.svg")
    write_json(RESULTS / f"{name}.json", described)
