"""Opens the MLflow UI on the runs and models of this repository."""

from __future__ import annotations

import os
import sys

from pipeline.params import Params, ParamsError
from pipeline.tracking.address import address_of


def main(name: str | None, params: Params) -> None:
    """Serves on 127.0.0.1, port `name` (5000), until interrupted; a remote server needs no serving."""
    address = address_of(params.tracking)
    if address.remote:
        print(f"ui: the runs are on a server; open {address.shown}")
        return
    port = name or "5000"
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ParamsError(f"port: found {port!r}; allowed: 1 to 65535, such as `make ui PORT=5001`")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address.uri]
    command += ["--default-artifact-root", address.artifacts] if address.artifacts else []
    command += ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
    # Nine processes fewer: the server would be ready to run judges of language models in the background.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    print(f"ui: open http://127.0.0.1:{port} in a few seconds (Ctrl-C ends it)", flush=True)
    os.execve(sys.executable, command, {**quiet, **os.environ})
