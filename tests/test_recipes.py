"""Recipes go into params.yaml and out of it again without a trace, and without losing a comment."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.check import check
from pipeline.download.download import local_source
from pipeline.files.digests import file_digest
from pipeline.params import ParamsError, load, read_raw
from pipeline.recipes import available, merge, take_out

MIRROR = Path(__file__).parents[2] / "shared/data"
RECIPES = sorted(path.stem for path in (Path(__file__).parents[1] / "recipes").glob("*.yaml"))
RECIPE = """# A second set of digits

downloads:
  more:
    # where it comes from
    more.csv:
      url: https://example.org/more.csv  # a mirror
      sha256: 0a00000000000000000000000000000000000000000000000000000000000000

experiments:
  # about this experiment
  more:
    candidates: [more-cnn]
    description: More digits
    task: image_classification
    data:
      path: data/raw/more
      format: pixel_table
      options: {height: 8, width: 8, channels: 1, maximum: 16}
      parts:
        all: {file: more.csv}
    split: {validation: 0.2, test: 0.2}   # of all
    settings: {}
    training:
      batch_size: 32
      trials: 1
      generation: 1

      trial_epochs: 1
      pruning: null
      epochs: 1
      patience: 1
      repeats: 1

candidates:
  more-cnn:
    experiment: more
    task: image_classification
    family: cnn
    parameters: {architecture: vgg, width: 16, depth: 1, kernel_size: 3, dropout: 0.1, shift: 1, flip: false,
                 label_smoothing: 0.0, learning_rate: 0.01, weight_decay: 0.01, warmup: 0.1, gradient_clip: 1.0,
                 ema_decay: 0.9}
"""


@pytest.fixture
def file(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A params.yaml beside a recipe `more` and the recipes of the repository."""
    shutil.copytree(root / "recipes", tmp_path / "recipes")
    (tmp_path / "recipes" / "more.yaml").write_text(RECIPE, encoding="utf-8")
    shutil.copy(root / "tests" / "tiny.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "params.yaml"


def test_adding_says_what_was_added_and_makes_a_sound_file(file: Path) -> None:
    before = load(file)
    assert merge("more") == ["downloads.more", "experiments.more", "candidates.more-cnn"]
    check(file)
    params = load(file)
    assert list(params.experiments) == [*before.experiments, "more"]
    assert list(params.downloads) == [*before.downloads, "more"]
    assert params.candidates["more-cnn"].parameters["learning_rate"] == 0.01


def test_adding_keeps_every_line_of_both_files(file: Path) -> None:
    before = file.read_text(encoding="utf-8").split("\n")
    merge("more")
    after = file.read_text(encoding="utf-8").split("\n")
    rest = iter(after)
    assert all(line in rest for line in before), "the lines of the file are all there, in their order"
    for comment in ("    # where it comes from", "  # about this experiment"):
        assert after.count(comment) == 1
    assert sum("# a mirror" in line for line in after) == sum("# of all" in line for line in after) == 1


def test_adding_twice_changes_nothing(file: Path) -> None:
    merge("more")
    once = file.read_bytes()
    assert merge("more") == []
    assert file.read_bytes() == once


@pytest.mark.parametrize("recipe", ["more", *RECIPES])
@pytest.mark.parametrize("source", ["tests/tiny.yaml", "params.yaml"])
def test_removing_restores_the_file_byte_for_byte(recipe: str, source: str, root: Path, file: Path) -> None:
    shutil.copy(root / source, file)
    take_out(recipe)  # the repository may have added a recipe itself
    before = file.read_bytes()
    added = merge(recipe)
    assert added and file.read_bytes() != before
    assert take_out(recipe) == added
    assert file.read_bytes() == before


def test_recipes_can_be_removed_in_any_order(file: Path) -> None:
    before = file.read_bytes()
    names = ["more", RECIPES[0]]
    for name in names:
        merge(name)
    for name in names:
        take_out(name)
    assert file.read_bytes() == before


@pytest.mark.parametrize("source", ["tests/tiny.yaml", "params.yaml"])
def test_all_recipes_fit_together_and_leave_no_trace_in_any_order(source: str, root: Path, file: Path) -> None:
    shutil.copy(root / source, file)
    for name in RECIPES:
        take_out(name)
    before = file.read_bytes()
    added = [path for name in RECIPES for path in merge(name)]
    check(file)
    assert len(added) == len(set(added)), "nothing is doubled"
    together = file.read_bytes()
    assert [path for name in RECIPES for path in merge(name)] == []
    assert file.read_bytes() == together
    lines = together.decode().split("\n")
    for name in RECIPES:
        recipe = (root / "recipes" / f"{name}.yaml").read_text(encoding="utf-8").split("\n")
        own = [line for line in recipe if line.startswith("  ")]
        assert [line for line in own if line not in lines] == [], "every line is there, with its comment"
        assert not any(line.startswith("#") for line in recipe[1:]), "a comment of a section would be lost"
    for name in [*RECIPES[1::2], *RECIPES[::2]]:
        take_out(name)
        if "experiments:\n" in file.read_text(encoding="utf-8"):
            load(file)
    assert file.read_bytes() == before


def test_a_download_stays_while_another_experiment_reads_it(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = file.read_bytes()
    other = RECIPE.replace("  more:\n    candidates: [more-cnn]", "  other:\n    candidates: [other-cnn]")
    other = other.replace("  more-cnn:\n    experiment: more\n", "  other-cnn:\n    experiment: other\n")
    (file.parent / "recipes" / "other.yaml").write_text(other, encoding="utf-8")
    merge("more")
    assert merge("other") == ["experiments.other", "candidates.other-cnn"]
    assert take_out("more") == ["experiments.more", "candidates.more-cnn"]
    assert caplog.messages == ["downloads.more stays: the experiment other reads it"]
    check(file)
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace("      path: data/raw/co2\n", ""), encoding="utf-8")
    with pytest.raises(ParamsError, match=r"experiments\.co2\.data\.path: missing"):
        take_out("other")
    file.write_text(whole, encoding="utf-8")
    assert take_out("other") == ["downloads.more", "experiments.other", "candidates.other-cnn"]
    assert file.read_bytes() == before


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\n# the end\n"])
def test_the_end_of_the_file_stays_as_it_is(end: str, file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8").rstrip("\n") + end, encoding="utf-8")
    before = file.read_bytes()
    merge("more")
    check(file)
    take_out("more")
    assert file.read_bytes() == before


def test_line_ends_of_windows_stay(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    before = file.read_bytes()
    merge("more")
    assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n")
    take_out("more")
    assert file.read_bytes() == before


@pytest.mark.parametrize("header", ["downloads: {}", "downloads: {}  # nothing to fetch yet"])
def test_an_empty_section_is_filled_and_emptied(header: str, file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    start, end = text.index("downloads:"), text.index("experiments:")
    file.write_text(text[:start] + header + "\n\n" + text[end:], encoding="utf-8")
    before = file.read_bytes()
    merge("more")
    assert list(load(file).downloads) == ["more"]
    take_out("more")
    assert file.read_bytes() == before


def test_comments_between_entries_stay_with_the_entry_below_them(file: Path) -> None:
    merge("more")
    text = file.read_text(encoding="utf-8").rstrip("\n")
    addition = "\n\n  # my own candidate\n  own:\n    experiment: digits\n    task: image_classification\n"
    addition += "    family: cnn\n    parameters: {width: 16}\n"
    text = text.replace("candidates: [digits-cnn, digits-rnn]", "candidates: [digits-cnn, digits-rnn, own]")
    file.write_text(text + addition, encoding="utf-8")
    take_out("more")
    after = file.read_text(encoding="utf-8")
    assert after.endswith(addition)
    assert "more" not in after


def test_removing_takes_out_edited_entries_as_well(file: Path) -> None:
    before = file.read_bytes()
    merge("more")
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("    description: More digits\n", "    description: Mine  # changed\n"), "utf-8")
    assert take_out("more") == ["downloads.more", "experiments.more", "candidates.more-cnn"]
    assert file.read_bytes() == before
    assert take_out("more") == []


def test_an_entry_that_differs_is_refused_and_nothing_is_written(file: Path) -> None:
    merge("more")
    text = file.read_text(encoding="utf-8").replace("description: More digits", "description: Mine")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=r"params\.yaml: experiments\.more stands there already and differs from"):
        merge("more")
    assert file.read_text(encoding="utf-8") == text
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


def test_a_recipe_that_does_not_fit_is_refused_and_nothing_is_written(file: Path) -> None:
    before = file.read_bytes()
    recipe = file.parent / "recipes" / "more.yaml"
    recipe.write_text(RECIPE.replace("epochs: 1", "epochs: 0"), encoding="utf-8")
    with pytest.raises(ParamsError, match=r"experiments\.more\.training\.trial_epochs: found 0"):
        merge("more")
    assert file.read_bytes() == before


def test_a_file_in_another_layout_is_left_alone(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    start, end = text.index("downloads:"), text.index("experiments:")
    entry = '{"digits.csv.gz": {"url": "https://example.org", "sha256": "%s"}}' % ("0" * 64)
    text = text[:start] + f'downloads: {{"more": {entry}}}\n' + text[end:]
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=r"laid out in a way that cannot be edited by program|stands there already"):
        merge("more")
    with pytest.raises(ParamsError, match="laid out in a way that cannot be edited by program"):
        take_out("more")
    assert file.read_text(encoding="utf-8") == text


def test_an_unknown_recipe_gets_the_nearest_name(file: Path) -> None:
    with pytest.raises(ParamsError, match=r"recipe: found mroe; allowed: .*; did you mean `more`\?"):
        merge("mroe")
    with pytest.raises(ParamsError, match=r"recipe: found \.\./params; allowed: "):
        take_out("../params")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_sound_and_says_what_it_is(recipe: str, file: Path) -> None:
    take_out(recipe)
    merge(recipe)
    check(file)
    assert len(available()[recipe]) > 10
    names = read_raw(Path("recipes", f"{recipe}.yaml"))
    assert set(names) <= {"downloads", "experiments", "candidates"}


def test_the_command_line_adds_and_removes(file: Path, call: object) -> None:
    assert callable(call)
    before = file.read_bytes()
    done = call(file.parent, "add", "more")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "add: downloads.more, experiments.more, candidates.more-cnn → params.yaml\n"
    assert call(file.parent, "add", "more").stdout == "add: nothing to do → params.yaml\n"
    assert call(file.parent, "remove", "more").returncode == 0
    assert file.read_bytes() == before
    wrong = call(file.parent, "add")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("add: name a recipe: python -m pipeline add NAME; allowed: ")


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_downloads_lies_in_the_mirror(name: str, root: Path) -> None:
    if not MIRROR.is_dir():
        pytest.skip("the data of recipes are not beside this repository")
    for folder, files in (read_raw(root / f"recipes/{name}.yaml").get("downloads") or {}).items():
        for file, source in files.items():
            path = local_source(source["url"]) if source["url"].startswith("package://") else MIRROR / folder / file
            assert path.is_file(), f"{folder}/{file}"
            assert "contents" in source or file_digest(path) == source["sha256"]
