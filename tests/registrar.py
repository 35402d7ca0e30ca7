"""Registers again and again in folders that its standard input names: one process stands for one clone.

`python tests/registrar.py` reads lines «folder address»; models are tried in this process, and their stored predictions
are invented, so that what takes long is left out and the registry alone is tried.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

TESTS = Path(__file__).parent
DONE = "done"


class Clones:
    """Two processes that register at the same moment, each in a folder of its own."""

    def __init__(self, folders: list[Path], address: str) -> None:
        self.folders, self.address = folders, address
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
        paths = os.pathsep.join(map(str, (TESTS.parent, TESTS, TESTS / "registry")))
        self.processes = [
            subprocess.Popen([sys.executable, __file__], env={**environment, "PYTHONPATH": paths}, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for _ in folders
        ]  # fmt: skip

    def register(self) -> list[str]:
        """What each of them has said."""
        said = [""] * len(self.folders)

        def ask(number: int) -> None:
            stdin, stdout = self.processes[number].stdin, self.processes[number].stdout
            assert stdin is not None and stdout is not None
            stdin.write(f"{self.folders[number]} {self.address}\n")
            stdin.flush()
            for line in stdout:
                if line.strip() == DONE:
                    return
                said[number] += line

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(self.folders))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        return said

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def main() -> None:
    """Imports first what takes long, so that both are at the registry at the same moment."""
    import fake_outputs as fake
    import registered
    import torch  # noqa: F401

    from pipeline.registry import spending
    from pipeline.serving import preflight
    from pipeline.serving import rehearse as trial
    from pipeline.stages import register

    trial.run_apart = registered.tried_here
    preflight.inspect = registered.passes
    spending.level_of = lambda decided, confidence: 0.4  # so that a decision depends on the champion of the moment
    for line in sys.stdin:
        folder, address = line.split()
        os.chdir(folder)
        register.main("digits", fake.params_for("digits", uri=address, candidates=("cnn",)))
        print(DONE, flush=True)


if __name__ == "__main__":
    main()
