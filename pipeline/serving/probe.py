"""Runs in a Python process of its own, as a script: `probe.py job.json`. Loads a servable folder and asks it.

It is tried as a user would ask it, through `mlflow.pyfunc` and over HTTP, or it answers the requests of a user. Pickle
is forbidden in the whole process. It knows the code that travels with the model and nothing else of this repository.
"""

from __future__ import annotations

import base64
import json
import logging
import pickle
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

PATIENCE = 60.0  # seconds for one answer
FORBIDDEN = "this model needs pickle, which runs whatever code its file holds; only safetensors are loaded"


def main(job: dict[str, Any]) -> None:
    """Writes into job["output"] what is wrong with job["folder"], as a list of sentences, and how much was asked.

    With job["requests"], Parquet files, it answers these instead of the probes: each into the file of job["answers"].
    """
    forbid_pickle()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    outcome = _answered(job) if "requests" in job else _tried(job)
    Path(job["output"]).write_text(json.dumps(outcome), encoding="utf-8")


def _answered(job: dict[str, Any]) -> dict[str, Any]:
    """Answers as far as the first request that is refused; `refused` says whether the finding is about a request."""
    import pandas as pd
    from mlflow.exceptions import MlflowException

    asked, loaded = 0, False
    try:
        model = _loaded(job["folder"])
        loaded = True
        for request, answer in zip(job["requests"], job["answers"], strict=True):
            model.predict(pd.read_parquet(request)).to_parquet(answer, index=False)
            asked += 1
    except Exception as error:
        kind = "" if isinstance(error, MlflowException) else f"{type(error).__name__}: "
        return {"findings": [kind + _in_short(error)], "asked": asked, "refused": loaded}
    return {"findings": [], "asked": asked, "refused": False}


def _tried(job: dict[str, Any]) -> dict[str, Any]:
    findings: list[str] = []
    asked = 0
    try:
        model = _loaded(job["folder"])
        probes = _probes(Path(job["folder"]))
        with _served(model) as address:
            for probe in probes:
                answer = _ask(model, address, probe)
                findings += [f"{probe['name']}: {answer}"] if answer else []
                asked += 1
    except Exception as error:
        findings.append(f"cannot be served: {type(error).__name__}: {_in_short(error)}")
    return {"findings": findings, "asked": asked}


def forbid_pickle() -> None:
    """Makes unpickling an error in this process, for good: by the names in the library and by Python's audit events.

    torch's own reader of plain weights (`weights_only=True`) builds tensors and nothing else; it stays.
    """
    import _pickle

    for module in (pickle, _pickle):
        for name, refusal in (("load", _refuse), ("loads", _refuse), ("Unpickler", _Refused)):
            setattr(module, name, refusal)
    setattr(pickle, "_Unpickler", _Refused)  # noqa: B010  # mypy takes it for a type that nobody may assign to
    sys.addaudithook(_watch)  # a reference that was taken before still cannot look up a class


class _Refused(pickle._Unpickler):
    """In the place of the unpicklers, of which libraries derive their own when they are imported."""

    def __init__(self, *arguments: object, **options: object) -> None:
        _refuse()


def _refuse(*arguments: object, **options: object) -> NoReturn:
    raise RuntimeError(FORBIDDEN)


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class":
        raise RuntimeError(FORBIDDEN)


def _loaded(folder: str) -> Any:
    from mlflow import pyfunc

    return pyfunc.load_model(folder)


def _probes(folder: Path) -> list[dict[str, Any]]:
    """Returns what travels with the model; of one from before there were probes, its example without a known answer."""
    stored = folder / "artifacts" / "probes.json"
    if stored.is_file():
        probes: list[dict[str, Any]] = json.loads(stored.read_text(encoding="utf-8"))
        return probes
    example = json.loads((folder / "serving_input_example.json").read_text(encoding="utf-8"))
    return [{"name": "the example", "request": example["dataframe_split"], "answer": None, "error": None,
             "absolute": 1e-4, "relative": 1e-4}]  # fmt: skip


@contextmanager
def _served(model: Any) -> Iterator[str]:
    """MLflow's own scoring server on a free port of this machine, in a thread."""
    import uvicorn
    from mlflow.pyfunc import scoring_server

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    settings = uvicorn.Config(scoring_server.init(model), log_level="critical", lifespan="off", access_log=False)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5)
        listener.close()


def _ask(model: Any, address: str, probe: dict[str, Any]) -> str:
    """Returns what is wrong with the answers to a probe: asked for twice directly, and over HTTP. Empty: nothing."""
    asks: list[tuple[str, Callable[[], Any]]] = [
        ("", lambda: model.predict(_frame(model, probe["request"]))),
        (" the second time", lambda: model.predict(_frame(model, probe["request"]))),
        (" over HTTP", lambda: _posted(address, probe["request"])),
    ]
    first = None
    for how, ask in asks:
        try:
            answer = ask()
        except Exception as error:
            message = str(error)
            if probe["error"] is None:
                return f"no answer{how}: {_in_short(error)}"
            if probe["error"] not in message:
                return f"the error{how} does not say {probe['error']!r}: {_in_short(error)}"
            continue
        if probe["error"] is not None:
            return f"was answered{how}; an error that says {probe['error']!r} would be right"
        rows = _rows(answer)
        first = rows if first is None else first
        known = first if probe["answer"] is None else _expected(probe["answer"])
        different = difference(rows, known, probe["absolute"], probe["relative"])
        if different:
            return different + how
    return ""


def difference(rows: list[dict[str, Any]], expected: list[dict[str, Any]], absolute: float, relative: float) -> str:
    """The first place where rows are not as expected, in words. Numbers may differ a little, nothing else may."""
    if len(rows) != len(expected):
        return f"{len(rows)} rows instead of {len(expected)}"
    for at, (row, wanted) in enumerate(zip(rows, expected, strict=True)):
        for name, value in wanted.items():
            if name not in row:
                return f"row {at} has no {name}"
            if not _alike(row[name], value, absolute, relative):
                return f"row {at} says {name} {_shown(row[name])} instead of {_shown(value)}"
    return ""


def _alike(value: Any, expected: Any, absolute: float, relative: float) -> bool:
    if isinstance(expected, float) and isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value - expected) <= absolute + relative * abs(expected) or (value != value and expected != expected)
    if isinstance(value, str) and isinstance(expected, str):
        return value == expected or value.replace("\n", "") == expected  # MLflow breaks base64 into lines
    return bool(value == expected)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _expected(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(answer["columns"], row, strict=True)) for row in answer["data"]]


def _rows(answer: Any) -> list[dict[str, Any]]:
    """Rows of an answer that came directly, a frame, or over HTTP, where it already is rows; bytes in base64."""
    if not isinstance(answer, list):
        if not hasattr(answer, "to_dict"):
            raise TypeError(f"found {type(answer).__name__}; a frame would be right")
        answer = answer.to_dict(orient="records")
    return [{name: _as_text(value) for name, value in row.items()} for row in answer]


def _as_text(value: Any) -> Any:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def _frame(model: Any, request: dict[str, Any]) -> Any:
    """The request as a frame; what JSON carries in base64 is bytes again."""
    import pandas as pd

    frame = pd.DataFrame(request["data"], columns=request["columns"])
    for column in model.metadata.get_input_schema().inputs:
        if column.name not in frame:  # an optional one
            continue
        if column.type.name == "binary":
            frame[column.name] = pd.Series([base64.b64decode(value) for value in frame[column.name]], dtype=object)
        elif not len(frame):
            frame[column.name] = frame[column.name].astype(column.type.to_pandas())
    return frame


def _posted(address: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer over HTTP. Raises ValueError with what the server said where it refuses, whatever else fails as it is.

    A refusal has the status 400: it speaks of the request. 500 would be a fault of the model.
    """
    body = json.dumps({"dataframe_split": request}).encode()
    asked = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through somebody's proxy
    try:
        with direct.open(asked, timeout=PATIENCE) as reply:
            answer: list[dict[str, Any]] = json.loads(reply.read())["predictions"]
            return answer
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        if error.code != 400:
            raise RuntimeError(f"status {error.code}") from None
        raise ValueError(text) from None


def _in_short(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0] if len(lines[0]) <= 300 else lines[0][:299] + "…"


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if not Path(job["folder"], "code", "pipeline").is_dir():
        sys.modules["pipeline"] = None  # type: ignore[assignment]  # a model must not answer with a checkout's code
    main(job)
