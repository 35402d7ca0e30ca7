"""The table of docs/results.md is made of files that hold what was measured, and of nothing else."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline import params
from pipeline.commands import results
from pipeline.report.measured import BEGIN, END, table, with_table


@pytest.fixture
def readme(repository: Path) -> Path:
    """The page of a repository with the results of two experiments."""
    (repository / "docs").mkdir(exist_ok=True)
    (repository / "docs/results.md").write_text(f"# Title\n\n{BEGIN}\n{END}\n\nThe rest.\n", encoding="utf-8")
    return repository / "docs/results.md"


def facts(name: str) -> Any:
    return json.loads(Path("docs/results", f"{name}.json").read_text(encoding="utf-8"))


def changed(file: str, **changes: Any) -> None:
    path = Path(file)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def rows(readme: Path, table: int = 0) -> list[list[str]]:
    """The cells of the figures (0), or of what the picked models are ahead of others (1)."""
    text = readme.read_text(encoding="utf-8").replace("\u202f", " ").split("By how much")[table]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.split("\n") if line[:1] == "|"]


def test_figures_times_and_commands_stand_in_the_table(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.main(None, params.load())
    assert capsys.readouterr().out == "results: digits, co2 → docs/results, docs/results.md\n"
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# Title\n") and text.endswith(f"{END}\n\nThe rest.\n")
    table = rows(readme)
    assert table[0][:3] == ["experiment", "model", "test score"]
    assert [row[1] if row[0].startswith(("co2", "digits")) else row[0] for row in table[2:]] == [
        "**RNN: lstm**", "CNN: resnet", "ridge (baseline)", "seasonal naive (baseline)",
        "svc (baseline)", "**CNN: resnet**", "RNN: gru",
    ]  # fmt: skip
    assert table[7][:6] == ["**CNN: resnet**", "0.983 (0.964 to 0.992)", "0.986", "77.1 k", "1.84 M", "1.9 min"]
    assert table[2][0] == "co2, MAE" and table[2][-1] == "`make repro`"
    assert (
        re.search(r"^Times on .* processors with(out)? bf16\.$", text, re.MULTILINE) and "95\u202f% intervals" in text
    )


def test_leads_are_those_of_pairs_and_say_whether_they_are_shown(readme: Path) -> None:
    results.main(None, params.load())
    assert rows(readme, 1) == [
        ["experiment", "picked", "than the other family", "than the best baseline"],
        ["---"] * 4,
        ["co2, MAE", "RNN: lstm", "+0.018 (−0.021 to +0.058): not shown to differ",
         "+0.100 (+0.044 to +0.152): better"],
        ["digits, accuracy", "CNN: resnet", "+0.028 (+0.008 to +0.050): better",
         "−0.003 (−0.017 to +0.011): not shown to differ"],
    ]  # fmt: skip


def test_without_another_family_there_is_a_dash(readme: Path) -> None:
    results.main("digits", params.load())
    stored = facts("digits")
    del stored["models"]["digits-rnn"]
    assert "| CNN: resnet | – | −0.003 (" in table([stored])


def test_a_reference_stands_in_the_table_and_is_no_baseline_to_beat(readme: Path) -> None:
    metrics = json.loads(Path("metrics/digits.json").read_text(encoding="utf-8"))
    metrics["models"]["svc"]["kind"] = "reference"
    changed("metrics/digits.json", **metrics)
    results.main("digits", params.load())
    assert rows(readme)[2][1] == "svc (reference)" and rows(readme, 1)[2][3] == "–"


def test_of_guesses_only_the_best_stands_in_the_table_behind_all_others(readme: Path) -> None:
    metrics = json.loads(Path("metrics/co2.json").read_text(encoding="utf-8"))
    for name, value in (("train_mean", 30.0), ("last_value", 1.1)):
        figures = {"mae": {"value": value, "low": value - 0.1, "high": value + 0.1}}
        metrics["models"][name] = {"kind": "guess", "test": figures, "validation": {"mae": value}}
    changed("metrics/co2.json", **metrics)
    results.main("co2", params.load())
    assert [row[1] if row[0].startswith("co2") else row[0] for row in rows(readme)[2:]] == [
        "**RNN: lstm**", "CNN: resnet", "ridge (baseline)", "seasonal naive (baseline)", "last value (guess)",
    ]  # fmt: skip
    assert set(facts("co2")["models"]) >= {"train_mean", "last_value"}, "all of them are kept in docs/results"


def test_the_table_says_where_each_was_measured(readme: Path) -> None:
    results.main(None, params.load())
    stored = facts("digits")
    stored["machine"] = "a laptop"
    assert "\nTimes on a laptop.\n" in table([stored])
    others = [{**stored, "experiment": name, "machine": "a server"} for name in ("b", "a")]
    assert "\nTimes of digits on a laptop.\nTimes of all others on a server.\n" in table([stored, *others])
    more = [{**stored, "experiment": name, "machine": "a desk"} for name in ("x", "y", "z")]
    assert "digits on a laptop.\nTimes of a and b on a server.\nTimes of all others on a desk.\n" in table(
        [stored, *others, *more]
    )
    assert "Times" not in table([{**stored, "machine": None}])


def test_a_long_list_of_experiments_goes_on_in_the_next_line(readme: Path) -> None:
    results.main(None, params.load())
    names = [f"experiment_{number:02}" for number in range(12)]
    made = table(
        [{**facts("digits"), "experiment": name, "machine": "a laptop"} for name in names]
        + [{**facts("digits"), "experiment": f"other_{number}", "machine": "a desk"} for number in range(13)]
    )
    first, second, last = made.split("\n\n")[1].splitlines()[-3:]
    assert len(first) <= 120 < len(f"{first} {second}") and first.startswith("Times of experiment_00, ")
    assert all(name in f"{first} {second}" for name in names) and last == "Times of all others on a desk."


def test_doing_it_twice_changes_nothing(readme: Path) -> None:
    results.main(None, params.load())
    before = {path: path.read_bytes() for path in (readme, *Path("docs/results").iterdir())}
    results.main("digits", params.load())
    assert {path: path.read_bytes() for path in (readme, *Path("docs/results").iterdir())} == before


def test_an_experiment_of_a_recipe_keeps_its_row_when_the_recipe_is_taken_out(readme: Path, root: Path) -> None:
    Path("recipes").mkdir()
    Path("recipes/old.yaml").write_text("# Old\n\nexperiments:\n  co2: {}\n", encoding="utf-8")
    results.main(None, params.load())
    assert rows(readme)[-4][-1] == "`python -m pipeline add old && make repro`", "recipes come behind `make repro`"
    shutil.rmtree("metrics")
    before = readme.read_bytes()
    results.main(None, params.load())
    assert readme.read_bytes() == before


def test_figures_of_other_models_or_data_are_left_out(readme: Path, caplog: pytest.LogCaptureFixture) -> None:
    changed("models/digits/digits-cnn/model.json", key="another")
    changed("data/prepared/co2/card.json", data="other")
    results.main(None, params.load())
    assert "digits is left as it was: The figures of `digits-cnn` are those of an earlier model" in caplog.text
    assert "co2 is left as it was: The figures were measured on other data" in caplog.text
    assert not Path("docs/results").exists() and "Nothing is measured yet." in readme.read_text(encoding="utf-8")


def test_times_stay_with_their_training_and_with_no_other(readme: Path) -> None:
    results.main("digits", params.load())
    first = facts("digits")
    assert first["models"]["digits-cnn"]["seconds"] == {"tune": 94.2, "train": 21.9}
    shutil.rmtree("timings")  # another machine, or a clone
    results.main("digits", params.load())
    assert facts("digits") == first
    models = json.loads(Path("metrics/digits.json").read_text(encoding="utf-8"))["models"]
    models["digits-cnn"]["key"] = "new"
    changed("metrics/digits.json", models=models)
    changed("models/digits/digits-cnn/model.json", key="new")
    results.main("digits", params.load())
    assert facts("digits")["models"]["digits-cnn"]["seconds"] == {}
    assert facts("digits")["models"]["digits-rnn"]["seconds"] == {"tune": 131.0, "train": 33.4}
    assert rows(readme)[3][5] == "–"


def test_a_time_of_an_earlier_search_is_not_shown(readme: Path) -> None:
    changed("timings/digits/digits-cnn/tune.json", key="of an earlier search")
    results.main("digits", params.load())
    assert facts("digits")["models"]["digits-cnn"]["seconds"] == {"train": 21.9}
    assert rows(readme)[3][5] == "–", "half of the time is not the time"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_readme_without_a_place_is_left_alone(text: str, readme: Path) -> None:
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"docs/results\.md has no place for the results; put these two lines there"):
        results.main(None, params.load())
    assert readme.read_text(encoding="utf-8") == text
    readme.unlink()
    with pytest.raises(ValueError, match=r"docs/results\.md is missing here"):
        results.main(None, params.load())


def test_the_readme_of_this_repository_says_what_its_files_say(root: Path) -> None:
    stored = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((root / "docs/results").glob("*.json"))]
    text = (root / "docs/results.md").read_text(encoding="utf-8")
    assert with_table(text, table(stored)) == text, "run `python -m pipeline results`"
    for entry in stored:
        file = root / "metrics" / f"{entry['experiment']}.json"
        measured = json.loads(file.read_text(encoding="utf-8"))["models"] if file.is_file() else {}
        for name, model in entry["models"].items():
            if model.get("key") and model["key"] == measured.get(name, {}).get("key"):
                assert model["test"] == measured[name]["test"], "a figure that nobody has measured"
