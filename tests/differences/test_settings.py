"""What of params.yaml and differences/params.yaml stops a difference, and how `check` says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documents import Document, changed
from ruamel.yaml import YAML

from pipeline.check import check as check_file
from pipeline.check import usable
from pipeline.commands import check
from pipeline.differences import DIFFERENCES, settings
from pipeline.guard import guard
from pipeline.params import ParamsError

Save = Callable[[Document, Path], Path]
ENTRY = {
    "reads": "pipeline/differences/sequences.py", "seeds": {"quick": 2, "full": 10}, "selection_seeds": 1,
    "rates": [0.001, 0.01], "steps": 3, "batch": 4, "length": 80, "lags": [4, 64], "long": 16, "distractors": 4,
    "examples": 8, "margin": 0.05,
}  # fmt: skip


def write(**entries: Any) -> None:
    """differences/params.yaml, with `setting` and the entries of differences."""
    setting = entries.pop("setting", "quick")
    Path("differences").mkdir(exist_ok=True)
    document = {"setting": setting, "differences": {"temporal_dependency": ENTRY} | entries}
    YAML(pure=True).dump(document, Path("differences/params.yaml"))


def faults() -> list[str]:
    with pytest.raises(ParamsError) as raised:
        settings.check_all()
    return [line.strip() for line in str(raised.value).splitlines()[1:]]


def test_a_sound_file_is_summed_up(folder: Path, tiny: Document, save: Save, capsys: Any) -> None:
    write()
    save(tiny, folder)
    check.main(None)
    said = "check: differences/params.yaml is sound: 1 of 10 differences, setting quick\n"
    assert capsys.readouterr().out.endswith(said)


def test_without_the_file_check_does_not_speak_of_differences(
    folder: Path, tiny: Document, save: Save, capsys: Any
) -> None:
    save(tiny, folder)
    check.main(None)
    assert "difference" not in capsys.readouterr().out


@pytest.mark.parametrize("change, line", [
    ({"seeds": {"quick": 2, "full": 1}}, "seeds: found 1; allowed: greater than or equal to 2"),
    ({"seeds": {"quick": 2}}, "seeds: found {'quick': 2}; allowed: a whole number"),
    ({"steps": "ten"}, "steps: found 'ten'; allowed: a whole number"),
    ({"rates": []}, "rates: found []; allowed: at least 1 entry"),
    ({"marign": 1}, "marign: unknown key; allowed: seeds, selection_seeds, rates, steps, batch, length, lags, long, "
                    "distractors, examples, margin; did you mean `margin`?"),
    ({"reads": None}, "reads: found None; allowed: a file or folder that the difference depends on"),
])  # fmt: skip
def test_a_wrong_value_is_named_with_its_place_in_whatever_setting_it_stands(
    folder: Path, change: Document, line: str
) -> None:
    write(temporal_dependency=ENTRY | change)
    assert faults() == [f"differences.temporal_dependency.{line}"]


def test_a_missing_key_an_unknown_difference_and_a_wrong_setting_are_named_at_once(folder: Path) -> None:
    write(setting="fast", temporal_dependency={k: v for k, v in ENTRY.items() if k != "lags"}, temporal={"steps": 1})
    allowed = ", ".join(DIFFERENCES)
    assert faults() == [
        "setting: found 'fast'; allowed: quick, full",
        "differences.temporal_dependency.lags: missing; add it",
        f"differences.temporal: unknown difference; allowed: {allowed}; did you mean `temporal_dependency`?",
    ]


def test_check_names_the_faults_of_both_files(folder: Path, tiny: Document, save: Save) -> None:
    write(setting="fast")
    save(changed(tiny, "seed", "none"), folder)
    with pytest.raises(ParamsError) as raised:
        check.main(None)
    assert "params.yaml has 1 problem:\n  seed: found 'none'" in str(raised.value)
    assert "differences/params.yaml has 1 problem:\n  setting: found 'fast'" in str(raised.value)


def test_a_difference_gets_the_values_of_the_setting(folder: Path) -> None:
    from pipeline.differences.temporal_dependency import Settings

    for setting, seeds in (("quick", 2), ("full", 10)):
        write(setting=setting)
        assert settings.chosen(settings.FILE, "temporal_dependency", Settings)[1].seeds == seeds


def test_every_entry_of_the_repository_is_sound(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert "differences/params.yaml is sound" in settings.check_all()


def test_a_faulty_experiment_stops_no_difference(tiny: Document, tmp_path: Path, save: Save) -> None:
    for name in tiny["experiments"]:
        tiny["experiments"][name]["split"] = "none"
    path = save(tiny, tmp_path)
    for stage, name in (("difference", "memory"), ("differences", None)):
        params = usable(stage, name, path)
        assert (params.threads, params.workers, params.experiments) == (tiny["threads"], tiny["workers"], {})
    with pytest.raises(ParamsError, match="split: found 'none'"):
        usable("prepare", "digits", path)


def test_a_wrong_number_of_threads_stops_a_difference(tiny: Document, tmp_path: Path, save: Save) -> None:
    with pytest.raises(ParamsError, match="threads: found 0"):
        usable("difference", "memory", save(changed(tiny, "threads", 0), tmp_path))


def test_no_experiment_may_have_the_name_of_the_differences(tiny: Document, tmp_path: Path, save: Save) -> None:
    tiny["experiments"]["Differences"] = tiny["experiments"].pop("digits")
    with pytest.raises(ParamsError, match="this name belongs to the ten differences in MLflow and in the report"):
        check_file(save(tiny, tmp_path))


def test_a_difference_takes_its_name_from_the_variable_that_dvc_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "differences/dvc.yaml:difference@memory")
    assert guard.name_from_dvc("difference") == "memory"
    assert guard.name_from_dvc("train") is None


def test_a_difference_stops_where_the_result_that_it_goes_on_from_was_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = "differences/results/temporal_dependency.json"
    write(memory=ENTRY | {"reads": read})
    (folder / "differences/results").mkdir()
    (folder / read).write_text("changed", encoding="utf-8")
    outs = [{"path": read, "hash": "md5", "md5": "0" * 32}]
    lock = {"schema": "2.0", "stages": {"difference@temporal_dependency": {"cmd": "x", "outs": outs}}}
    YAML(pure=True).dump(lock, folder / "differences/dvc.lock")
    monkeypatch.setenv("DVC_STAGE", "differences/dvc.yaml:difference@memory")
    again = "`dvc repro differences/dvc.yaml:difference@temporal_dependency`"
    with pytest.raises(ValueError, match=again), guard.guarded("difference", "memory", None):  # type: ignore[arg-type]
        raise AssertionError("it would measure")
    with guard.guarded("difference", "temporal_dependency", None):  # type: ignore[arg-type]
        assert Path(".work/difference-temporal_dependency.lock").read_text(encoding="utf-8")
