"""Measures one of the ten differences between the families and writes its result and its figure."""

from __future__ import annotations

import importlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.data.threads import use_threads
from pipeline.differences import DIFFERENCES
from pipeline.differences.drawing import save_svg
from pipeline.differences.paired import measure_all
from pipeline.differences.settings import FILE, chosen, read_by
from pipeline.files.atomic import write_json
from pipeline.files.code import code_digest
from pipeline.files.digests import content_key, file_digest, folder_digest
from pipeline.models import FAMILIES
from pipeline.params import Params, ParamsError, nearest
from pipeline.tracking.machine import MACHINE, machine_in_words, machine_tags

RESULTS, TIMINGS = Path("differences", "results"), Path("timings", "differences")


def main(name: str | None, params: Params) -> None:
    """Writes differences/results/<name>.json and .svg; measured seconds go to timings/."""
    if name not in DIFFERENCES:
        raise ParamsError(f"difference: found {name}; {nearest(str(name), DIFFERENCES)}")
    started = time.monotonic()
    use_threads(params.threads)
    module: Any = importlib.import_module(f"pipeline.differences.{name}")
    setting, settings = chosen(FILE, name, module.Settings)
    key = content_key(
        difference=name, settings=settings.model_dump(), code=_code(name), read=_read(name), threads=params.threads
    )
    work = Path(".work", key)
    resumed = work.exists()
    work.mkdir(parents=True, exist_ok=True)
    measured = measure_all(module, settings, work=work, workers=params.workers, threads=params.threads, title=name)
    described = {
        "name": name,
        "title": DIFFERENCES[name],
        "key": key,
        "claim": module.CLAIM,
        "scope": "networks trained from scratch",
        "setting": setting,
        "budget": settings.model_dump(),
        "machine": machine_tags()[MACHINE],
        "rates": measured.rates,
        "picked": measured.picked,
        **module.judge(measured, settings).described(),
    }
    _write(name, json.loads(json.dumps(described)), module)
    if hasattr(module, "after"):
        TIMINGS.mkdir(parents=True, exist_ok=True)
        module.after(measured, settings, TIMINGS)
    seconds = round(time.monotonic() - started, 1)
    timing = {"seconds": seconds, "key": key, "whole": not resumed, "machine": machine_in_words()}
    write_json(TIMINGS / f"{name}.json", {**timing, "workers": params.workers})
    shutil.rmtree(work, ignore_errors=True)
    print(f"difference: {DIFFERENCES[name]}: {described['verdict']} → {RESULTS / name}.json")


def _code(name: str) -> str:
    """The digest of all code that the trainings of a difference run; families are imported by their names."""
    families = [f"pipeline/models/{place.partition(':')[0].replace('.', '/')}.py" for place in FAMILIES.values()]
    return code_digest("pipeline/stages/difference.py", f"pipeline/differences/{name}.py", *families)


def _read(name: str) -> dict[str, str]:
    """Digests of what a difference reads: trainings on other inputs are no work to resume."""
    return {
        path.as_posix(): folder_digest(path) if path.is_dir() else file_digest(path)
        for path in read_by(name)
        if path.exists()
    }


def _write(name: str, described: Mapping[str, Any], module: Any) -> None:
    """The figure first: the result says that both are whole."""
    save_svg(module.draw(described), RESULTS / f"{name}.svg")
    write_json(RESULTS / f"{name}.json", described)
