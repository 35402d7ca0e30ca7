"""The command line: what it offers, and what a user sees when something goes wrong."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import main
from pipeline.command_line import COMMANDS
from pipeline.formats import FORMATS
from pipeline.models import FAMILIES, load_family
from pipeline.tasks import TASKS

Document = dict[str, Any]

ROOT = Path(__file__).parents[1]


@pytest.fixture
def repository(tiny: Document, save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save(tiny, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replaced(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Lets the stage `fetch` end with an error."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("pipeline.stages.fetch.main", fail)


def test_python_without_the_environment_is_told_which_one_to_activate() -> None:
    command = [sys.executable, "-S", "-m", "pipeline", "list"]  # -S: without installed packages
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "has no package" in done.stderr and ". .venv/bin/activate" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("name", ["pipeline.lost", "psycopg2"])
def test_what_an_activated_environment_lacks_is_shown_where_it_is_missed(
    name: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, ModuleNotFoundError(f"No module named {name!r}", name=name))
    with pytest.raises(ModuleNotFoundError):
        main(["fetch", "digits"])


def test_help_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"  {name:12} {command.about}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_main_and_a_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(import_module(f"pipeline.{COMMANDS[name].room}.{name}").main)
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0 and COMMANDS[name].about[1:] in text
    flags = {flag for command in COMMANDS.values() for flag in command.options if flag.startswith("--")}
    assert {flag for flag in flags if f"{flag} " in text} == {flag for flag in COMMANDS[name].options if flag in flags}


def test_every_file_of_stages_and_commands_can_be_called(root: Path) -> None:
    files = {path.stem for room in ("stages", "commands") for path in (root / "pipeline" / room).glob("[!_]*.py")}
    assert files == set(COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_complete_commands_and_their_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS) and "--because" in script


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_help_comes_at_once(words: list[str]) -> None:
    """Without torch, mlflow and what else takes seconds; the best of three tries."""
    program = f"import sys; from pipeline.__main__ import main\ntry: main({words!r})\nexcept SystemExit: pass\n"
    program += "print(sorted({'torch', 'mlflow', 'pandas', 'dvc', 'pydantic'} & set(sys.modules)))"
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - begun)
    assert done.stdout.endswith("[]\n") and min(seconds) < 1.0, seconds


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prepare"], "prepare needs an experiment: "),
        (["train"], "train needs a candidate: "),
        (["fetch"], "fetch needs a download: "),
    ],
)
def test_a_missing_name_gets_one_sentence_with_those_that_could_stand_there(
    words: list[str], sentence: str, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    found = capfd.readouterr().err
    assert found.startswith(sentence) and found.count("\n") == 1
    if words == ["prepare"]:
        assert "digits, co2" in found and " or " in found


def test_an_unknown_stage_gets_the_nearest_name(call: Any, tmp_path: Path) -> None:
    done = call(tmp_path, "trian", "digits-cnn")
    assert done.returncode == 2
    assert done.stderr.startswith("unknown command 'trian'; allowed: check, list, ")
    assert done.stderr.endswith("; did you mean `train`?\n")


def test_without_a_stage_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "the following arguments are required: COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "name", "message"),
    [
        ("fetch", "digit", "fetch: download: found digit; allowed: digits, co2.*; did you mean `digits`?"),
        ("prepare", "co", "prepare: experiment: found co; allowed: digits, co2.*; did you mean `co2`?"),
        ("tune", "digits-cn", "tune: candidate: found digits-cn; .*; did you mean `digits-cnn`?"),
        ("train", "co2-rn", "train: candidate: found co2-rn; .*; did you mean `co2-rnn`?"),
        ("evaluate", "digit", "evaluate: experiment: found digit; .*; did you mean `digits`?"),
        ("register", "digit", "register: experiment: found digit; .*; did you mean `digits`?"),
        ("leaderboard", "digit", "leaderboard: there is no experiment 'digit'; .*; did you mean `digits`?"),
        ("add", "digit", "add: recipe: found digit; allowed: none"),
        ("ui", "web", "ui: port: found 'web'; allowed: 1 to 65535, such as `make ui PORT=5001`"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(
    stage: str, name: str, message: str, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([stage, name]) == 2
    start, _, end = message.partition(".*")
    found = capfd.readouterr().err.strip()
    assert found.startswith(start) and found.endswith(end), found


@pytest.mark.parametrize("stage", ["prepare", "tune", "train", "evaluate"])
def test_a_stage_whose_input_is_missing_says_what_makes_it(
    stage: str, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "digits-cnn" if stage in ("tune", "train") else "digits"
    assert main([stage, name]) == 2
    found = capfd.readouterr().err
    assert found.startswith(f"{stage}: data/") and "dvc repro" in found, found
    assert found.count("\n") == 1


def test_outside_of_the_repository_the_message_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 2
    assert capfd.readouterr().err == (
        "report: params.yaml is missing here; run the command in the root of the repository\n"
    )


def test_ctrl_c_ends_without_a_traceback(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    replaced(monkeypatch, KeyboardInterrupt())
    assert main(["fetch", "digits"]) == 130
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("number", "text"), [(errno.ENOSPC, "No space left on device"), (errno.EACCES, "Permission denied")]
)
def test_a_full_or_forbidden_disk_is_named_in_one_line(
    number: int, text: str, repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    replaced(monkeypatch, OSError(number, text, "data/raw/digits"))
    assert main(["fetch", "digits"]) == 2
    assert capfd.readouterr().err == f"fetch: {text}: data/raw/digits; nothing earlier was changed\n"


def test_a_mistake_of_the_code_keeps_its_traceback(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (TypeError("ours"), UnicodeDecodeError("utf-8", b"", 0, 1, "ours"), OSError(errno.EIO, "ours")):
        replaced(monkeypatch, error)
        with pytest.raises(type(error), match="ours"):
            main(["fetch", "digits"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "digits", "co2"], "fetch takes one name; got also 'co2'"),
        (["report", "digits"], "report takes no name; got also 'digits'"),
        (["history", "digits", "--to", "2"], "history takes no --to; rollback and promote do"),
        (["rollback", "digits", "--to=2", "--output=x"], "rollback takes no --output; predict does"),
        (["list", "--text", "a", "--text", "b"], "list takes no --text; predict does"),
        (
            ["promote", "digits", "--becuase", "x"],
            "promote takes no --becuase; allowed: --to, --because, --help; did you mean `--because`?",
        ),
        (
            ["rollback", "digits", "--to"],
            "rollback: argument --to: expected one argument; `python -m pipeline rollback --help` shows what it takes",
        ),
    ],
)
def test_an_argument_that_a_command_does_not_take_is_refused_in_one_sentence(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capfd.readouterr() == ("", f"{message}\n")


def test_list_shows_all_that_can_be_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert main(["list"]) == 0
    lines = [line for line in capsys.readouterr().out.split("\n") if line.startswith("  ")]
    families = [load_family(family) for family in FAMILIES]
    architectures = [name for family in families for name in family.ARCHITECTURES]
    architectures += [name for family in families for name in family.PRESETS]
    recipes = [path.stem for path in sorted((root / "recipes").glob("*.yaml"))]
    assert [line.split()[0] for line in lines] == [*recipes, *TASKS, *FORMATS, *FAMILIES, *architectures]
    for line in lines:
        assert len(line.split()) > 4 and ":math:" not in line, f"nothing is said about {line.strip()}"
    said = "\n".join(lines)
    assert "[score: the one that settings.score names; settings: lookback, " in said
    assert "[file, date, date_format, columns, (rows)]" in said
