"""What the report, the summary and the leaderboard say about results on disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline import params
from pipeline.commands import leaderboard
from pipeline.params import ParamsError
from pipeline.stages import report


class Page(HTMLParser):
    """The tags that are open, the texts, and all addresses of a page."""

    VOID = ("meta", "img", "br", "col", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.addresses: list[str] = []
        self.places: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.places += [value or "" for name, value in attrs if name == "id"]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def made() -> str:
    report.main(None, params.load())
    return Path("reports/index.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What a reader sees: without tags, every gap one space."""
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", body).replace("\u202f", " "))


def edit(path: str, **changes: Any) -> None:
    file = Path(path)
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_page_needs_nothing_but_itself(repository: Path) -> None:
    page = Page(made())
    assert page.stack == []
    assert {"#digits", "#co2"} < set(page.addresses)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.places)
    assert len(page.places) == len(set(page.places))
    assert len(page.images) == 2 * 2 * (1 + 3) + 3 * 2 + 4 * 2  # curves and search of 4 candidates, 7 models' pictures
    assert all(image["alt"] and image["width"] == "1" for image in page.images)


def test_page_leads_with_winner_margin_and_baseline(repository: Path) -> None:
    text = text_of(made())
    assert "digits-cnn beats digits-rnn, but is not shown to differ from the baseline svc." in text
    assert "Accuracy of digits-cnn on test: 0.983 (95 % interval 0.964 to 0.992); higher is better." in text
    assert "It is 0.028 better than digits-rnn (+0.008 to +0.050)." in text
    assert (
        "It is 0.003 behind svc (−0.017 to +0.011): not shown to differ, the examples are too few for less than 0.014."
        in text
    )
    assert "On these data a network is not shown to be worth its cost: svc is not shown to be worse." in text


def test_lower_scores_win_where_lower_is_better(repository: Path) -> None:
    text = text_of(made())
    assert "co2-rnn is not shown to differ from co2-cnn; co2-rnn beats the baseline ridge." in text
    assert "It is 0.100 better than ridge (+0.044 to +0.152)." in text


def test_page_shows_decision_cost_and_warnings(repository: Path) -> None:
    text = text_of(made())
    assert "Promoted. There was no champion yet." in text
    assert "Not promoted. The gain over version 3" in text
    assert "Champion of co2: version 3, co2-rnn" in text
    assert "Parameters 77 130 41 994" in text
    assert "Time of the search 1 min 34 s 2 min 11 s" in text
    assert "Data: column co2 has 59 missing values in train" in text
    assert "Learning rate 0.003512of 0.001 to 0.01, logarithmic" in text


def test_page_and_summary_say_how_often_the_gate_has_asked_the_test_split(repository: Path) -> None:
    record = json.loads(Path("reports/registry.json").read_text(encoding="utf-8"))
    split = {"test_digest": "t" * 64, "decisions": 2, "error_level": 0.05, "left": 0.05 / 3, "next_level": 0.05 / 12,
             "passable": False}  # fmt: skip
    record["experiments"]["co2"]["history"] = [{"time": "", "challenger": None, "evidence": {"test_split": split}}]
    edit("reports/registry.json", **record)
    text, summary = text_of(made()), Path("reports/summary.md").read_text(encoding="utf-8").replace("\u202f", " ")
    for shown in (text, summary):
        assert shown.count("2 models were compared with a champion on this test split: 1.7 % of its error") == 1
        assert "the next comparison gets 0.42 %, at which no model can pass" in shown


def test_text_from_files_cannot_become_markup(repository: Path) -> None:
    edit("data/prepared/co2/card.json", warnings=["<script>alert(1)</script>"])
    page = made()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_experiments_without_results_are_named_and_skipped(repository: Path) -> None:
    for path in ("metrics/co2.json", "data/prepared/co2/card.json", "reports/registry.json"):
        Path(path).unlink()
    text = text_of(made())
    assert "There are no results yet: metrics/co2.json is missing. Run make repro." in text
    assert "Not decided yet." in text
    summary = Path("reports/summary.md").read_text(encoding="utf-8")
    assert "## co2: no results yet" in summary
    assert "## digits: digits-cnn beats digits-rnn" in summary


def test_figures_of_an_older_model_or_data_are_not_shown_as_new_ones(repository: Path) -> None:
    edit("models/digits/digits-cnn/model.json", key="retrained")
    edit("data/prepared/co2/card.json", data="another digest")
    text = text_of(made())
    assert "The figures of digits-cnn are those of an earlier model. Run make repro." in text
    assert "The figures were measured on other data than those that are prepared now." in text


def test_missing_figures_become_dashes(repository: Path) -> None:
    found = json.loads(Path("metrics/digits.json").read_text(encoding="utf-8"))
    found["models"]["svc"]["test"]["accuracy"] = {"value": float("nan"), "low": None, "high": None}
    found["differences"] = {}
    edit("metrics/digits.json", **found)
    page = made()
    assert "nan" not in text_of(page)
    assert '<span class="value">–</span>' in page


def test_summary_compares_with_the_last_commit(repository: Path) -> None:
    person = ("-c", "user.name=A person", "-c", "user.email=person@example.org")
    for words in (["init", "--quiet"], ["add", "metrics"], [*person, "commit", "--quiet", "--message", "Results"]):
        subprocess.run(["git", *words], check=True)
    made()
    assert "Nothing changed since the last commit." in Path("reports/summary.md").read_text(encoding="utf-8")

    found = json.loads(Path("metrics/digits.json").read_text(encoding="utf-8"))
    found["models"]["digits-cnn"]["test"]["accuracy"]["value"] = 0.9903
    found["models"]["boosting"] = found["models"].pop("svc")
    edit("metrics/digits.json", test_digest="new", models=found["models"], differences={})
    made()
    summary = Path("reports/summary.md").read_text(encoding="utf-8").replace("\u202f", " ")
    assert "| model | accuracy on test | 95 % interval | before | change | on validation |" in summary
    assert "| **digits-cnn** (CNN, resnet) | 0.990 | 0.964 to 0.992 | 0.983 | +0.007 | 0.986 |" in summary
    assert "| boosting (baseline) | 0.986 | 0.968 to 0.994 | – | new | 0.986 |" in summary
    assert "The test data changed" in summary
    assert "No longer compared: svc." in summary


def test_leaderboard_is_a_plain_table(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made()
    capsys.readouterr()
    leaderboard.main("digits", params.load())
    lines = capsys.readouterr().out.replace("\u202f", " ").splitlines()
    assert lines[1:6] == [
        "digits: digits-cnn beats digits-rnn, but is not shown to differ from the baseline svc.",
        "     model       kind      test accuracy  interval        validation  parameters",
        "     svc         baseline  0.986          0.968 to 0.994  0.986       –",
        "  *  digits-cnn  resnet    0.983          0.964 to 0.992  0.986       77 130",
        "     digits-rnn  gru       0.956          0.929 to 0.973  0.967       41 994",
    ]
    assert lines[-2:] == [f"Report:    {(repository / 'reports/index.html').as_uri()}", "MLflow UI: make ui"]
    with pytest.raises(ParamsError, match=r"there is no experiment 'digit'; .* did you mean `digits`"):
        leaderboard.main("digit", params.load())


def with_guess(gap: float, low: float, high: float) -> None:
    """Adds the guess `most_common_class` to the metrics of digits; both candidates are better by this much."""
    found = json.loads(Path("metrics/digits.json").read_text(encoding="utf-8"))
    value = found["models"]["digits-cnn"]["test"]["accuracy"]["value"] - gap
    figures = {"accuracy": {"value": value, "low": value - 0.01, "high": value + 0.01}}
    found["models"]["most_common_class"] = {"kind": "guess", "test": figures, "validation": {"accuracy": value}}
    for name in ("digits-cnn", "digits-rnn"):
        found["differences"][f"{name} − most_common_class"] = {
            "a": name, "b": "most_common_class", "score": "accuracy", "difference": gap, "low": low, "high": high,
            "p_value": 0.0001, "method": "paired bootstrap",
        }  # fmt: skip
    edit("metrics/digits.json", **found)


def test_a_guess_is_the_last_row_everywhere_and_else_unsaid(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_guess(0.88, 0.85, 0.91)
    page = made()
    board = page[page.index('<table class="board">') :]
    assert re.findall(r'<span class="name">([\w-]+)</span>', board)[:4] == [
        "svc", "digits-cnn", "digits-rnn", "most_common_class",
    ]  # fmt: skip
    assert page.count('<tr class="baseline guess">') == 1
    assert "guessing" not in text_of(page) and "over most_common_class" not in text_of(page)
    rows = [line for line in Path("reports/summary.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    assert rows[5].replace("\u202f", " ").startswith("| most_common_class (guess) | 0.103 | 0.093 to 0.113 |")
    capsys.readouterr()
    leaderboard.main("digits", params.load())
    assert capsys.readouterr().out.splitlines()[6].split()[:2] == ["most_common_class", "guess"]


def test_that_nothing_beats_guessing_is_the_first_that_page_summary_and_leaderboard_say(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_guess(0.002, -0.01, 0.014)
    said = "No candidate is shown to be better than guessing (most common class). digits-cnn beats digits-rnn"
    text, summary = text_of(made()), Path("reports/summary.md").read_text(encoding="utf-8")
    assert f"digits · Handwritten digits, 8×8 grey values · image classification {said}" in text
    assert "It is 0.002 ahead of most_common_class (−0.010 to +0.014): not shown to differ, " in text
    assert summary.startswith(f"## digits: {said}")
    capsys.readouterr()
    leaderboard.main("digits", params.load())
    assert capsys.readouterr().out.startswith(f"\ndigits: {said}")


def test_that_a_baseline_beats_the_challenger_is_said_first(repository: Path) -> None:
    found = json.loads(Path("metrics/digits.json").read_text(encoding="utf-8"))
    found["differences"]["digits-cnn − svc"] |= {"difference": -0.03, "low": -0.05, "high": -0.01, "p_value": 0.001}
    edit("metrics/digits.json", **found)
    said = "The baseline svc beats digits-cnn; digits-cnn beats digits-rnn."
    assert said in text_of(made())
    assert Path("reports/summary.md").read_text(encoding="utf-8").startswith(f"## digits: {said}\n")


@pytest.mark.parametrize("high, worse", [(-0.1, True), (0.1, False)])
def test_an_earlier_champion_that_a_baseline_beats_is_named_before_the_details(
    repository: Path, high: float, worse: bool
) -> None:
    record = json.loads(Path("reports/registry.json").read_text(encoding="utf-8"))
    evidence = {"over_baseline": {"difference": -0.2, "low": -0.3, "high": high, "p_value": 0.001}}
    line = {"time": "", "challenger": {"key": "an-older-one", "version": "3", "candidate": "co2-rnn"}}
    record["experiments"]["co2"]["history"] = [{**line, "evidence": evidence}]
    edit("reports/registry.json", **record)
    said = "A classical baseline is significantly better than the champion, version 3 (co2-rnn)."
    text, summary = text_of(made()), Path("reports/summary.md").read_text(encoding="utf-8")
    if worse:
        assert text.index(said) < text.index("MAE of co2-rnn on test")
        assert f"beats the baseline ridge.\n\n**{said}**\n\nMAE of co2-rnn on test" in summary
    else:
        assert said not in text and said not in summary


def test_report_imports_nothing_heavy(repository: Path) -> None:
    code = (
        "import sys; from pipeline import params; from pipeline.stages import report; report.main(None, params.load());"
        "print(sorted({'torch', 'mlflow', 'pandas', 'numpy', 'matplotlib', 'dvc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "report: 2 experiments in reports/index.html, in short in reports/summary.md",
        "[]",
    ]
