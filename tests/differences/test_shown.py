"""The ten differences where people look: the terminal, docs/differences.md, the README, and the report."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from measured_differences import SVG, VERDICTS, described, write_result

from pipeline.commands import differences
from pipeline.differences import DIFFERENCES
from pipeline.differences.drawing import save_svg
from pipeline.differences.overview import draw
from pipeline.differences.texts import BEGIN, END, document, readme_lines, terminal, with_lines
from pipeline.params import ParamsError
from pipeline.report.page import page
from pipeline.report.ten_results import ShownEffect, in_short, read_differences

NOTHING: Any = None  # what of params.yaml these commands read


class Texts(HTMLParser):
    """Tags that are closed in order, ids, addresses, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.alternatives: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        self.alternatives += [values["alt"]] if tag == "img" else []
        if tag not in ("meta", "img", "br", "col", "link"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += [] if "style" in self.stack else data.replace("\u202f", " ").split()


def shown() -> Texts:
    """The report without any experiment."""
    return Texts(page([], NOTHING, None, None, read_differences(DIFFERENCES)))


def test_a_report_without_measured_differences_does_not_speak_of_them(folder: Path) -> None:
    assert "differences" not in " ".join(shown().words)
    assert "differences" not in shown().ids


def test_the_report_shows_some_differences_and_says_which_are_not_measured_yet(folder: Path) -> None:
    write_result("memory")
    text = " ".join(shown().words)
    assert "1 holds: memory. 9 are not measured yet: connectivity, data types, " in text
    row = "6. Memory Claim of memory. holds a control has failed +0.502 share memory, rnn − cnn"
    assert f"{row} +0.452 to +0.553 +0.417 to +0.588 margin 0.05" in text
    assert text.count("not measured yet") == 10, "the sentence and nine rows"


def test_the_report_shows_all_differences_with_sentences_intervals_controls_and_circumstances(folder: Path) -> None:
    for name in DIFFERENCES:
        write_result(name)
    found = shown()
    text = " ".join(found.words)
    assert "3 hold: connectivity, memory, parallelism. 2 do not hold: parameter sharing, uses." in text
    assert "3 depend on a condition: data types (the data set), temporal dependency (the receptive field), " in text
    assert "What a decision needs. Ten seeds of the full setting." in text
    assert "What to do with it. Take it | or leave it." in text
    assert text.count("A control has failed. ablation: found 2, expected above 2.5. Do not rely on this verdict.") == 1
    assert "gru nothing 8.4 k 634 k 0.01 0.001: 0.98, 0.01: 1" in text
    assert "Budget margin 0.05, rates 0.001 0.01, seeds 8 Machine Linux, x86_64, AMD EPYC" in text
    assert "It is ahead & <b>well</b> (memory)." in text, "escaped: it is text, not markup"
    assert len(found.ids) == len(set(found.ids))
    assert {address[1:] for address in found.addresses if address[0] == "#"} <= set(found.ids)
    assert "Memory: It is ahead & <b>well</b> (memory)." in found.alternatives


def test_figures_are_images_of_their_own_so_that_their_ids_and_styles_meet_no_others(folder: Path) -> None:
    for name in ("memory", "uses"):
        write_result(name)
    sources = [address for address in shown().addresses if address.startswith("data:")]
    encoded = base64.b64encode(SVG.encode()).decode()
    assert sources == [f"data:image/svg+xml;base64,{encoded}"] * 2
    text = page([], NOTHING, None, None, read_differences(DIFFERENCES))
    assert "<svg" not in text and 'width="672" height="403"' in text, "points became pixels"


def test_a_damaged_result_is_named_and_the_others_are_shown(folder: Path) -> None:
    write_result("memory")
    Path("differences/results/uses.json").write_text('{"half', encoding="utf-8")
    note = "differences/results/uses.json is damaged; run `make differences`"
    assert note in " ".join(shown().words)
    said = terminal(read_differences(DIFFERENCES)).splitlines()[-2:]
    assert said == [f"! {note}", "! Memory: a control has failed: ablation: found 2, expected above 2.5"]


def test_the_table_of_the_terminal_has_the_main_effect_and_its_deciding_interval(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result("data_types")
    differences.main(None, NOTHING)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-1] == "margin" and len(lines) == 12
    assert re.split(" {2,}", lines[2]) == [
        "2", "Data types", "depends on the data set", "+0.502 share", "+0.417 to +0.588", "0.05",
    ]  # fmt: skip
    assert re.split(" {2,}", lines[10]) == ["10", "Uses", "not measured yet", "–", "–", "–"]
    assert lines[-1] == "differences: 1 of 10 are measured → docs/differences.md"


def test_the_command_takes_no_name() -> None:
    with pytest.raises(ParamsError, match="found the name memory; this command takes all of them"):
        differences.main("memory", NOTHING)


def test_page_readme_and_picture_are_made_again_to_the_same_bytes(folder: Path) -> None:
    Path("README.md").write_text(f"# Title\n\n{BEGIN}\n{END}\n\nThe rest.\n", encoding="utf-8")
    for name in DIFFERENCES:
        write_result(name)
    made = []
    for _ in range(2):
        differences.main(None, NOTHING)
        made.append([Path(name).read_bytes() for name in ("README.md", "docs/differences.md", "docs/differences.svg")])
    assert made[0] == made[1]
    readme = made[0][0].decode()
    assert readme.startswith("# Title\n") and readme.endswith("\n\nThe rest.\n")
    assert "![Verdicts and main effects of the ten differences](docs/differences.svg)" in readme
    assert [line for line in readme.splitlines() if len(line) > 120] == []


def test_the_page_has_figure_sentences_intervals_and_circumstances_of_each(folder: Path) -> None:
    for name in DIFFERENCES:
        write_result(name)
    text = document(read_differences(DIFFERENCES), {})
    for name, title in DIFFERENCES.items():
        assert f"![{title}](../differences/results/{name}.svg)" in text
    assert "## 6. Memory: holds" in text
    assert "It is ahead &amp; &lt;b&gt;well&lt;/b&gt; (memory)." in text
    assert "**What to do with it.** Take it \\| or leave it." in text
    assert "| memory, rnn − cnn | +0.502 share | +0.452 to +0.553 | +0.417 to +0.588 | 0.05 | holds |" in text
    assert "| ablation | 2 | above 2.5 | failed |" in text
    assert "**A control has failed, do not rely on this verdict.** ablation: found 2, expected above 2.5" in text
    assert text.count("| holds (a control has failed) |") == 1
    assert "Networks trained from scratch; setting quick: margin 0.05, rates 0.001 0.01, seeds 8." in text
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_durations_of_either_setting_are_taken_over_where_all_of_the_work_was_seen(folder: Path) -> None:
    for name in DIFFERENCES:
        write_result(name)
        timing = {"seconds": 30.0, "key": name[0] * 64, "whole": name != "uses", "machine": "Linux, 2 processors"}
        Path("timings/differences").mkdir(parents=True, exist_ok=True)
        Path(f"timings/differences/{name}.json").write_text(json.dumps(timing), encoding="utf-8")
    differences.main(None, NOTHING)
    text = Path("docs/differences.md").read_text(encoding="utf-8").replace("\u202f", " ")
    assert "| Memory | 30 s: holds | – |\n" in text
    assert "| Uses | – | – |\n| **together** | – | – |" in text, "its time is that of a part"
    Path("timings/differences/uses.json").write_text(json.dumps(timing | {"whole": True}), encoding="utf-8")
    differences.main(None, NOTHING)
    text = Path("docs/differences.md").read_text(encoding="utf-8").replace("\u202f", " ")
    assert "| **together** | 5 min 0 s | – |" in text
    write_result("uses", key="another")
    Path("timings/differences/memory.json").unlink()
    differences.main(None, NOTHING)
    kept = Path("docs/differences.md").read_text(encoding="utf-8").replace("\u202f", " ")
    assert kept == text, "what was known before stays"
    seconds = json.loads(differences.SECONDS.read_text(encoding="utf-8"))
    entry = {"seconds": 600.0, "machine": "Linux", "verdict": "does not hold", "shown": "It is the other way round."}
    seconds["full"] = {"memory": entry}
    differences.SECONDS.write_text(json.dumps(seconds), encoding="utf-8")
    differences.main(None, NOTHING)
    text = Path("docs/differences.md").read_text(encoding="utf-8").replace("\u202f", " ")
    assert "| Memory | 30 s: holds | 10 min 0 s: does not hold |\n" in text
    assert "What came out in the setting full:\n\n* Memory, does not hold: It is the other way round.\n" in text


def test_a_readme_without_a_place_for_the_lines_says_what_to_put_there() -> None:
    with pytest.raises(ValueError, match="has no place for the differences; put these two lines there"):
        with_lines("# Title\n", "lines")


def test_effects_have_as_many_digits_as_their_interval_allows() -> None:
    wide = ShownEffect("a", {"value": 1.234, "interval_95": [-1, 3.5], "interval_995": [-2.5, 5], "margin": -0.0})
    assert (wide.value, wide.interval_95, wide.interval_995) == ("+1.2", "−1.0 to +3.5", "−2.5 to +5.0")
    assert wide.margin == "0"
    none = ShownEffect("a", {"value": float("nan"), "interval_995": [float("-inf"), float("inf")]})
    assert (none.value, none.interval_95, none.interval_995, none.margin) == ("–", "– to –", "– to –", "–")


def test_the_overview_draws_all_rows_whatever_is_known_of_them(folder: Path) -> None:
    flat = described("uses")["effects"]["main"] | {"value": 0.0, "interval_95": [0.0, 0.0], "interval_995": [0.0, 0.0]}
    write_result("uses", effects={"main": flat | {"margin": 0.0}}, order=["main"])
    write_result("memory")
    write_result("features", effects={}, order=[])
    drawn = [save_svg(draw(read_differences(DIFFERENCES)), Path(name)).read_bytes() for name in ("a.svg", "b.svg")]
    assert drawn[0] == drawn[1]
    (axes,) = draw(read_differences(DIFFERENCES)).axes
    words = [text.get_text() for text in axes.texts]
    assert {"6. Memory", "● holds", "1. Connectivity", "– not measured yet", "+0.502 share", "0.000 share"} <= set(
        words
    )


def test_every_verdict_belongs_to_one_kind(folder: Path) -> None:
    for name in DIFFERENCES:
        write_result(name)
    kinds = {found.name: found.kind for found in read_differences(DIFFERENCES)}
    assert [kinds[name] for name in VERDICTS] == [
        "holds", "depends", "depends", "open", "fails", "holds", "depends", "holds", "open", "fails",
    ]  # fmt: skip
    assert in_short(read_differences(DIFFERENCES))[2].endswith("training (holds, but not for cnn alone)")


def test_what_is_committed_was_made_from_the_results_that_are_committed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    found = read_differences(DIFFERENCES)
    seconds = json.loads(differences.SECONDS.read_text(encoding="utf-8")) if differences.SECONDS.is_file() else {}
    readme = Path("README.md").read_text(encoding="utf-8")
    assert Path("docs/differences.md").read_text(encoding="utf-8") == document(found, seconds), "make differences"
    assert readme == with_lines(readme, readme_lines(found)), "make differences"
    assert Path("docs/differences.svg").is_file()
