"""Shared searches: whoever takes part, dies, comes back or comes late, the trials are those of a search alone."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import math
import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import optuna
import pytest
from servers import Postgres
from sqlalchemy.exc import OperationalError

from pipeline.params import Choices, Pruning, Range
from pipeline.params import Study as Section
from pipeline.search import worker as participant
from pipeline.search.search import Proposal, search, searched
from pipeline.search.storage import VARIABLE, address_of, reason
from pipeline.search.study import OWNER, Study
from pipeline.search.worker import Watch, taking_part
from pipeline.training.fit import Outcome

SPACE: dict[str, Any] = {
    "architecture": Choices(choices=["vgg", "resnet"]),
    "width": Range(low=16, high=64),
    "learning_rate": Range(low=1e-3, high=1e-1, log=True),
    "depth": 2,
}
NAME, TRIALS, GENERATION, PRUNING = "digits-cnn 0123456789abcdef", 10, 4, Pruning(after_epochs=2, quantile=0.5)
FORK = multiprocessing.get_context("fork")
Search = Callable[..., "Machine"]
driven = pytest.mark.skipif(  # what SQLAlchemy takes for postgresql://
    importlib.util.find_spec("psycopg") is None, reason="no driver: pip install 'psycopg[binary]'"
)


def outcome_of(parameters: dict[str, Any], limits: dict[int, float]) -> Outcome:
    """A made-up fit of four epochs, which diverges with small widths."""
    base = abs(math.log10(parameters["learning_rate"]) + 2) + abs(parameters["width"] - 48) / 48
    if parameters["width"] < 20:
        base = math.nan
    losses = [base + 1 / (epoch + 1) for epoch in range(4)]
    kept = next((epoch + 1 for epoch, loss in enumerate(losses) if loss > limits.get(epoch, math.inf)), 4)
    history = [{"epoch": epoch, "validation_loss": loss} for epoch, loss in enumerate(losses[:kept])]
    return Outcome({"validation_loss": losses[kept - 1], "validation_mae": base / 3}, kept - 1, kept < 4, history)


def computing(work: Path, seconds: float, hangs: Iterable[int]) -> participant.Compute:
    """Runs trials as a pool with one worker does: outcomes stay in `work`, what is really computed is noted there."""

    def compute(proposals: Iterable[Proposal], on_done: Callable[[int, Outcome], None] = lambda *_: None) -> Any:
        outcomes = []
        for number, values, limits in proposals:
            kept = work / f"{number}.json"
            if not kept.exists():
                with (work / "computed").open("a") as stream:
                    stream.write(f"{number}\n")
                time.sleep(600 if number in hangs else seconds)
                kept.write_text(json.dumps(outcome_of(values, limits).__dict__))
            outcomes.append(Outcome(**json.loads(kept.read_text())))
            on_done(number, outcomes[-1])
        return outcomes

    return compute


def told(run: Any, seed: int = 0, trials: int = TRIALS) -> str:
    """All that a search finds out, to the last digit."""
    found = search(SPACE, trials, GENERATION, PRUNING, seed, run)
    return json.dumps([[each.number, each.generation, each.parameters, each.outcome.__dict__] for each in found])


def take_part(uri: str, work: Path, seconds: float = 0.0, hangs: Iterable[int] = (), trials: int = TRIALS) -> str:
    """The whole search of one participant."""
    work.mkdir(parents=True, exist_ok=True)
    address = address_of(Section(storage=uri))
    assert address is not None
    with taking_part(Study(address, NAME, trials), searched(SPACE), work, computing(work, seconds, hangs)) as run:
        return told(run, trials=trials)


class Machine:
    """A participant in a process of its own."""

    def __init__(self, uri: str, work: Path, gate: Any = None, **others: Any) -> None:
        self.work, self.error = work, work.with_suffix(".error")

        def work_through() -> None:
            if gate is not None:
                gate.wait()
            try:
                found = take_part(uri, work, **others)
                (work / "found").write_text(found)
            except ValueError as error:
                self.error.write_text(str(error))
                os._exit(2)
            os._exit(0)

        self.process: BaseProcess = FORK.Process(target=work_through)
        self.process.start()

    @property
    def computed(self) -> list[int]:
        path = self.work / "computed"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def found(self, seconds: float = 60) -> str:
        self.process.join(seconds)
        assert self.process.exitcode == 0, self.error.read_text() if self.error.exists() else self.process.exitcode
        return (self.work / "found").read_text()

    def reach(self, number: int, seconds: float = 60) -> None:
        """Waits until it computes this trial."""
        wait_for(lambda: number in self.computed, seconds)

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(20)


def wait_for(reached: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    """Starts participants that look often; those who are silent are given up only where a test says so."""
    monkeypatch.delenv(VARIABLE, raising=False)
    for name, seconds in {"BEAT": 0.2, "SILENCE": 3600.0, "POLL": 0.05, "SAID": 0.5}.items():
        monkeypatch.setattr(participant, name, seconds)
    started: list[Machine] = []

    def make(name: str, uri: str = f"sqlite:///{tmp_path}/study.db", **others: Any) -> Machine:
        started.append(Machine(uri, tmp_path / name, **others))
        return started[-1]

    yield make
    for machine in started:
        if machine.process.is_alive():
            machine.kill()


@pytest.fixture
def alone(tmp_path: Path) -> str:
    """What a search on one machine without any database finds."""
    (tmp_path / "alone").mkdir()
    return told(computing(tmp_path / "alone", 0.0, ()))


def uri_of(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def numbers_of(uri: str) -> list[int]:
    return [trial.number for trial in optuna.load_study(study_name=NAME, storage=uri).trials]


def participate_once(tmp_path: Path, work: str = "once", **others: Any) -> str:
    return take_part(uri_of(tmp_path), tmp_path / work, **others)


def test_two_machines_share_the_trials_and_both_know_all(start: Search, tmp_path: Path, alone: str) -> None:
    gate = FORK.Barrier(2)
    first, second = (start(name, gate=gate, seconds=0.1) for name in ("first", "second"))
    assert first.found() == second.found() == alone
    assert sorted(first.computed + second.computed) == list(range(TRIALS)), "each trial once"
    assert first.computed and second.computed
    assert numbers_of(uri_of(tmp_path)) == list(range(TRIALS))


@pytest.mark.parametrize("attempt", range(3))
def test_four_that_come_at_the_same_moment_make_one_study(
    start: Search, tmp_path: Path, alone: str, attempt: int
) -> None:
    gate = FORK.Barrier(4)
    machines = [start(f"machine-{number}", gate=gate) for number in range(4)]
    assert {machine.found() for machine in machines} == {alone}
    assert sorted(number for machine in machines for number in machine.computed) == list(range(TRIALS))
    assert numbers_of(uri_of(tmp_path)) == list(range(TRIALS))


def test_another_machine_takes_over_from_one_that_is_killed(
    start: Search, tmp_path: Path, alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participant, "SILENCE", 5.0)
    dying = start("dying", hangs=[1])
    dying.reach(1)
    living = start("living")
    living.reach(3)
    dying.kill()
    assert living.found() == alone
    assert dying.computed == [0, 1] and living.computed == [2, 3, 1, *range(4, TRIALS)], "under the same number"
    assert numbers_of(uri_of(tmp_path)) == list(range(TRIALS))


def test_a_machine_that_lives_keeps_a_trial_that_takes_long(start: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participant, "SILENCE", 5.0)
    slow = start("slow", seconds=8.0, trials=2)
    slow.reach(0)
    other = start("other", trials=2)
    assert slow.found() == other.found()
    assert slow.computed == [0] and other.computed == [1]


def test_a_search_whose_machines_all_died_goes_on_and_repeats_nothing(
    start: Search, tmp_path: Path, alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participant, "SILENCE", 5.0)
    gate = FORK.Barrier(2)
    machines = [start(name, gate=gate, hangs=[5, 6]) for name in ("first", "second")]
    wait_for(lambda: {5, 6} <= {number for machine in machines for number in machine.computed})
    for machine in machines:
        machine.kill()
    before = {trial.number for trial in trials_of(tmp_path) if trial.state.is_finished()}
    assert before >= set(range(4))
    resumed = start("third")
    assert resumed.found() == alone
    assert sorted(resumed.computed) == sorted(set(range(TRIALS)) - before)
    assert numbers_of(uri_of(tmp_path)) == list(range(TRIALS))


def trials_of(tmp_path: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=NAME, storage=uri_of(tmp_path)).trials


def test_a_machine_that_comes_back_goes_on_at_once_with_its_own_trial(start: Search, alone: str) -> None:
    killed = start("machine", hangs=[2])
    killed.reach(2)
    killed.kill()
    again = start("machine")
    assert again.found() == alone
    assert again.computed == [0, 1, 2, 2, *range(3, TRIALS)], "both lives: only the trial that was cut off is repeated"


def test_an_interrupted_participant_gives_its_trial_back_at_once(start: Search, tmp_path: Path, alone: str) -> None:
    def interrupted(proposals: Iterable[Proposal], on_done: Any) -> list[Outcome]:
        for number, values, limits in proposals:
            if number == 2:
                raise KeyboardInterrupt
            on_done(number, outcome_of(values, limits))
        return []

    (tmp_path / "interrupted").mkdir()
    address = address_of(Section(storage=uri_of(tmp_path)))
    assert address is not None
    study = Study(address, NAME, TRIALS)
    with (
        pytest.raises(KeyboardInterrupt),
        taking_part(study, searched(SPACE), tmp_path / "interrupted", interrupted) as run,
    ):
        told(run)
    other = start("other")
    assert other.found() == alone
    assert other.computed == list(range(2, TRIALS)), "what was computed had been sent"


def test_one_that_comes_late_computes_nothing(start: Search, tmp_path: Path, alone: str) -> None:
    assert participate_once(tmp_path) == alone
    late = start("late")
    assert late.found() == alone
    assert late.computed == []


# What others see in the database


def test_optuna_reads_a_proper_study(start: Search, tmp_path: Path, alone: str) -> None:
    participate_once(tmp_path)
    study, trials = optuna.load_study(study_name=NAME, storage=uri_of(tmp_path)), json.loads(alone)
    assert optuna.get_all_study_names(uri_of(tmp_path)) == [NAME]
    states = {trial.state.name for trial in study.trials}
    assert states == {"COMPLETE", "PRUNED", "FAIL"}
    for trial, (number, _, parameters, outcome) in zip(study.trials, trials, strict=True):
        assert trial.number == number
        assert trial.params == {name: parameters[name] for name in ("architecture", "width", "learning_rate")}
        assert trial.user_attrs["pruned"] == outcome["pruned"]
        losses = {epoch: row["validation_loss"] for epoch, row in enumerate(outcome["history"])}
        assert trial.intermediate_values == {epoch: loss for epoch, loss in losses.items() if math.isfinite(loss)}
        assert trial.datetime_complete is not None
    assert study.best_value == min(
        trial.value for trial in study.trials if trial.state.name == "COMPLETE" and trial.value is not None
    )
    assert set(optuna.importance.get_param_importances(study)) == {"architecture", "width", "learning_rate"}


def changed(tmp_path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as database, database:
        assert database.execute(statement).rowcount > 0


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("update trial_values set value = 0.001 where trial_id = 1", "state or value of trial 0"),
        ("update trials set state = 'PRUNED' where trial_id = 2 and state != 'PRUNED'", "state or value of trial 1"),
        (
            "update trial_params set param_value = 17 where trial_id = 3 and param_name = 'width'",
            "width of trial 2 is 17",
        ),
        ("delete from trial_user_attributes where trial_id = 4 and key = 'figures'", "trial 3 holds no outcome"),
        ("update trial_user_attributes set value_json = '7' where key = 'history 00000'", "holds no outcome"),
        ("delete from trial_user_attributes where key = 'participant'", "made by another program"),
        ("delete from trials where trial_id = 10", "it holds 9 trials, and this search has 10"),
    ],
)
def test_a_study_that_somebody_changed_is_told(start: Search, tmp_path: Path, statement: str, message: str) -> None:
    participate_once(tmp_path)
    changed(tmp_path, statement)
    with pytest.raises(ValueError, match="is not this search any more") as caught:
        participate_once(tmp_path, "again")
    assert message in str(caught.value)
    assert not (tmp_path / "again" / "computed").exists()


def test_a_study_with_another_number_of_trials_is_told(start: Search, tmp_path: Path) -> None:
    participate_once(tmp_path, trials=4)
    with pytest.raises(ValueError, match="it holds 4 trials, and this search has 10"):
        participate_once(tmp_path, "again")


def test_a_study_that_is_removed_during_the_search_ends_it_with_a_message(start: Search, tmp_path: Path) -> None:
    machine = start("machine", seconds=0.3)
    machine.reach(1)
    optuna.delete_study(study_name=NAME, storage=uri_of(tmp_path))
    machine.process.join(60)
    assert machine.process.exitcode == 2
    assert "it was removed from the database" in machine.error.read_text()


def test_silence_is_measured_while_one_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participant, "SILENCE", 45.0)
    now = [1000.0]
    monkeypatch.setattr(participant.time, "monotonic", lambda: now[0])
    watch = Watch()

    def pass_time(seconds: float, **beats: str) -> None:
        for _ in range(int(seconds / 5)):
            now[0] += 5
            watch.look(beats)

    watch.look({"a": "1"})
    assert not watch.is_silent("a") and not watch.is_silent("unheard of until now")
    pass_time(30, a="1")
    assert not watch.is_silent("a")
    pass_time(5, a="2")
    pass_time(participant.SILENCE, a="2")
    assert not watch.is_silent("a"), "exactly at the limit"
    pass_time(5, a="2")
    assert watch.is_silent("a")
    now[0] += 10 * participant.SILENCE  # the database was away: nobody could be heard
    assert not watch.is_silent("a")
    watch.look({"a": "2"})
    assert not watch.is_silent("a")
    pass_time(participant.SILENCE + 5, a="2")
    assert watch.is_silent("a") and watch.is_silent("unheard of until now") is False


# Addresses, and databases that are away


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("redis://:secret-1@host/0", "found an address that begins with redis://"),
        ("postgres://user:secret-1@host/db", "found an address that begins with postgres://"),
        ("user:secret-1@host", "found text that is no address"),
        ("postgresql://user:a/secret-1@host/db", "cannot be read; characters such as / @"),
        ("postgresql://user:12/secret-1@host/db", "cannot be read"),
        ("postgresql://user:a@secret-1@host/db", "cannot be read"),
        ("mysql://user:12?secret-1@host/db", "cannot be read"),
        ("postgresql://user:a]secret-1@[host/db", "cannot be read"),
        ("sqlite:///:memory:", "allowed: sqlite:///file"),
        ("sqlite://study.db", "allowed: sqlite:///file"),
        ("sqlite://", "allowed: sqlite:///file"),
    ],
)
def test_an_address_that_is_none_is_told_without_repeating_a_password(
    uri: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ValueError) as caught:
        address_of(Section(storage=uri))
    assert message in str(caught.value) and str(caught.value).startswith("study.storage: ")
    assert "secret-1" not in str(caught.value)
    monkeypatch.setenv(VARIABLE, uri)
    with pytest.raises(ValueError, match=f"^{VARIABLE}: "):
        address_of(Section(storage=None))


def test_the_variable_wins_over_params_yaml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "postgresql+psycopg2://user:p%40ss%2Fword@[::1]:5433/searches?sslmode=require")
    found = address_of(Section(storage="sqlite:///study.db"))
    assert found is not None and found.shown == "postgresql+psycopg2://[::1]:5433/searches"
    monkeypatch.setenv(VARIABLE, "")
    found = address_of(Section(storage="sqlite:///study.db"), tmp_path)
    assert found is not None and found.uri == f"sqlite:///{tmp_path}/study.db"
    temporary = tmp_path / ".dvc" / "tmp" / "exps" / "one"
    temporary.mkdir(parents=True)
    assert address_of(Section(storage="sqlite:///study.db"), temporary) == found, "not in a copy that DVC deletes"
    monkeypatch.delenv(VARIABLE)
    assert address_of(Section(storage=None)) is None


@driven
def test_a_database_that_is_away_at_the_start_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = address_of(Section(storage=f"postgresql://me:geheim@127.0.0.1:{taken.getsockname()[1]}/searches"))
        assert address is not None
        with pytest.raises(ValueError, match=r"postgresql://127\.0\.0\.1:\d+/searches does not answer \(") as caught:
            Study(address, NAME, TRIALS)
    assert "geheim" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        ("mysql", "install the driver: pip install mysqlclient"),
        ("mysql+pymysql", "install the driver: pip install pymysql"),
        ("postgresql+psycopg2", "install the driver: pip install psycopg2-binary"),
        ("mysql+mine", "knows no such driver: .*mysql[.]mine"),
    ],
)
def test_a_driver_that_is_not_there_is_told(driver: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pymysql", "MySQLdb", "psycopg2"):
        monkeypatch.setitem(sys.modules, module, None)
    address = address_of(Section(storage=f"{driver}://me:geheim@host/searches"))
    assert address is not None
    with pytest.raises(ValueError, match=message) as caught:
        Study(address, NAME, TRIALS)
    assert "geheim" not in str(caught.value) and "does not answer" not in str(caught.value)


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as database, database:
        database.execute("create table alembic_version (version_num varchar)")
    address = address_of(Section(storage=uri_of(tmp_path)))
    assert address is not None
    with pytest.raises(ValueError, match="holds the tables of another program, such as MLflow"):
        Study(address, NAME, TRIALS)
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as database:
        assert database.execute("select name from sqlite_master").fetchall() == [("alembic_version",)]


def test_what_a_driver_says_is_shown_without_credentials() -> None:
    address = address_of(Section(storage="postgresql://me:ge%2Fheim@host/searches?sslpassword=geheimer"))
    assert address is not None
    error = optuna.exceptions.StorageInternalError("Optuna's own words")
    error.__cause__ = OperationalError("select 1", {}, Exception(f"{address.uri} with ge/heim or geheimer\nmore"))
    said = reason(error, address)
    assert said == "postgresql://host/searches with *** or ***"


class Cut:
    """A study whose database answers nothing between two trials; the real one otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cut = False
        for name in ("read", "swap_owner", "start", "finish", "beat"):
            monkeypatch.setattr(Study, name, self._unless_cut(getattr(Study, name)))

    def _unless_cut(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            if self.cut:
                raise optuna.exceptions.StorageInternalError("the connection is lost")
            return method(*arguments)

        return called


def cut_at(connection: Cut, first: int, back: int | None, work: Path) -> participant.Compute:
    """Computes; the database is away from the trial `first` until the trial `back`."""
    real = computing(work, 0.0, ())

    def noted(proposals: Iterable[Proposal]) -> Iterator[Proposal]:
        for proposal in proposals:
            if proposal[0] in (first, back):
                connection.cut = proposal[0] == first
            yield proposal

    return lambda proposals, on_done: real(noted(proposals), on_done)


def test_trials_go_on_while_the_database_is_away_and_are_sent_when_it_is_back(
    start: Search, tmp_path: Path, alone: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    address = address_of(Section(storage=uri_of(tmp_path)))
    assert address is not None
    (tmp_path / "work").mkdir()
    compute = cut_at(Cut(monkeypatch), 4, 7, tmp_path / "work")
    with taking_part(Study(address, NAME, TRIALS), searched(SPACE), tmp_path / "work", compute) as run:
        assert told(run) == alone
    assert (tmp_path / "work" / "computed").read_text().split() == [str(number) for number in range(TRIALS)]
    assert "does not answer (the connection is lost); trials go on" in caplog.text
    assert "study.db is back" in caplog.text


def test_a_long_absence_ends_the_search_and_the_next_start_repeats_nothing(
    start: Search, tmp_path: Path, alone: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(participant, "ABSENCE", 0.5)
    address = address_of(Section(storage=uri_of(tmp_path)))
    assert address is not None
    (tmp_path / "work").mkdir()
    connection = Cut(monkeypatch)
    with (
        pytest.raises(ValueError, match="outcomes of this machine are kept: start again when it is back"),
        taking_part(
            Study(address, NAME, TRIALS),
            searched(SPACE),
            tmp_path / "work",
            cut_at(connection, 4, None, tmp_path / "work"),
        ) as run,
    ):
        told(run)
    assert "does not answer" in caplog.text and "trials go on" in caplog.text
    assert (tmp_path / "work" / "computed").read_text().split() == [str(number) for number in range(8)]
    connection.cut = False
    assert participate_once(tmp_path, "work") == alone
    assert (tmp_path / "work" / "computed").read_text().split() == [str(number) for number in range(TRIALS)]


# The stage itself


def test_a_search_without_storage_loads_no_database(root: Path) -> None:
    code = (
        "import sys, pipeline.stages.tune; print([name for name in ('sqlalchemy', 'alembic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def machine(
    prepared: Path, tiny: dict[str, Any], tmp_path: Path, save: Callable[..., Path]
) -> Callable[[str, str | None], Path]:
    """A folder as on another machine: its own params.yaml, .work and MLflow store, and the same prepared data."""

    def make(name: str, uri: str | None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        tiny["experiments"]["co2"]["training"] |= {"trials": 4, "generation": 2, "trial_epochs": 1}
        tiny["study"]["storage"], tiny["workers"] = uri, 1
        save(tiny, folder)
        (folder / "data").symlink_to(prepared / "data")
        return folder

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "search" / "co2" / "co2-rnn").iterdir())}


def tuned(*folders: Path, **variables: str) -> list[str]:
    """What `python -m pipeline tune co2-rnn` says in each of the folders, all at the same time."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PIPELINE_"))}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-m", "pipeline", "tune", "co2-rnn"]
    processes = [
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for folder in folders
    ]
    said = [process.communicate(timeout=400)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(folders), said
    return said


def test_two_machines_write_the_bytes_of_one_without_storage(
    machine: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    uri = uri_of(tmp_path)
    lonely, first, second = machine("lonely", None), machine("first", uri), machine("second", uri)
    tuned(lonely)
    said = tuned(first, second)
    assert contents(first) == contents(second) == contents(lonely)
    assert all("search 'co2-rnn " in text and "0 of 4 trials" in text for text in said), said
    [name] = optuna.get_all_study_names(uri)
    study = optuna.load_study(study_name=name, storage=uri)
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    assert {entry[OWNER] for entry in (trial.user_attrs for trial in study.trials)} <= {
        name.removeprefix(f"{OWNER} ") for name in study.user_attrs
    }
    assert not [path for folder in (first, second) for path in (folder / ".work").iterdir() if path.is_dir()]


@driven
def test_the_stage_says_in_one_line_that_the_database_is_away_and_changes_nothing(
    machine: Callable[..., Path], call: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    folder = machine("machine", None)
    done = call(folder, "tune", "co2-rnn", **{VARIABLE: "postgresql://me:geheim-1@127.0.0.1:9/searches"})
    assert done.returncode == 2
    assert "tune: study.storage: postgresql://127.0.0.1:9/searches does not answer" in done.stderr
    assert "Traceback" not in done.stderr and "geheim-1" not in done.stdout + done.stderr
    assert not [path for path in folder.rglob("*") if path.is_dir() and path.name not in ("data", ".work")]


# PostgreSQL


class Line:
    """A connection to a server that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self.target, self.open, self.pairs = port, True, list[socket.socket]()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self.server.accept()
            if not self.open:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.target))
            self.pairs += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def cut(self) -> None:
        self.open = False
        for each in self.pairs:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.pairs = []


@driven
@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_machines_share_a_search_in_postgresql(
    postgres: Postgres, start: Search, alone: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participant, "SILENCE", 8.0)
    database = f"study_{driver.partition('+')[2]}"
    postgres.create(database)
    uri = postgres.address(database, driver)
    gate = FORK.Barrier(4)
    machines = [start(f"machine-{number}", uri, gate=gate, seconds=0.05) for number in range(3)]
    dying = start("dying", uri, gate=gate, hangs=range(TRIALS))
    wait_for(lambda: bool(dying.computed))
    dying.kill()
    assert {machine.found(120) for machine in machines} == {alone}
    computed = sorted(number for machine in machines for number in machine.computed)
    assert computed == list(range(TRIALS)), "each once, also what the dead one had begun"
    assert numbers_of(uri) == list(range(TRIALS))


@driven
def test_a_line_that_is_cut_for_a_while_costs_nothing(
    postgres: Postgres, start: Search, tmp_path: Path, alone: str
) -> None:
    postgres.create("cut")
    line = Line(postgres.port)
    uri = postgres.address("cut").replace(f":{postgres.port}/", f":{line.port}/")
    machine = start("machine", uri, seconds=0.3)
    machine.reach(1)
    line.cut()
    machine.reach(3)
    time.sleep(1)
    line.open = True
    assert machine.found(120) == alone
    assert machine.computed == list(range(TRIALS))


@driven
def test_searches_and_mlflow_share_a_postgresql_database_only_in_schemas_of_their_own(postgres: Postgres) -> None:
    address = address_of(Section(storage=postgres.create("tracked", "searches")))
    assert address is not None
    postgres.execute("tracked", "create table alembic_version (version_num varchar)")
    with pytest.raises(ValueError, match="give searches a database or a schema of their own") as caught:
        Study(address, NAME, TRIALS)
    assert postgres.password not in str(caught.value)
    found = "select table_schema, count(*) from information_schema.tables where table_name = 'studies' group by 1"
    assert postgres.execute("tracked", found) == []
    own = address_of(Section(storage=postgres.address("tracked", options="?options=-csearch_path%3Dsearches")))
    assert own is not None
    assert len(Study(own, NAME, TRIALS).trials) == TRIALS
    assert postgres.execute("tracked", found) == [("searches", 1)]
    wrong = address_of(Section(storage=postgres.address("no_such")))
    assert wrong is not None
    with pytest.raises(ValueError, match=r'does not answer .*database "no_such" does not exist'):
        Study(wrong, NAME, TRIALS)


@driven
def test_two_machines_write_the_same_bytes_through_postgresql(postgres: Postgres, machine: Callable[..., Path]) -> None:
    first, second = machine("first", None), machine("second", None)
    said = tuned(first, second, **{VARIABLE: postgres.create("tuned")})  # its password stands in no file
    assert contents(first) == contents(second)
    assert all(postgres.password not in text and "geheim" not in text for text in said)
