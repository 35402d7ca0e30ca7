"""Runs the code of a version in a fresh Python that gets nothing of the caller's: no secrets, no input, no folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

# What a process needs to start, to find its libraries and processors, and to compute with the same number of threads.
NAMES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP",
        "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
        "PYTHONHOME", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONUSERBASE", "PYTHONNOUSERSITE",
        "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "USERNAME", "APPDATA",
        "LOCALAPPDATA", "PROGRAMDATA", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
    }
)  # fmt: skip
PREFIXES = (
    "LC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_", "ATEN_", "DNNL_", "ONEDNN_",
    "TORCH_", "PYTORCH_", "CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_", "HIP_", "HSA_", "ROCM_", "ROCR_", "MIOPEN_",
)  # fmt: skip
SECRETS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "AUTH", "KEY")  # such as NVIDIA_API_KEY


def environment() -> dict[str, str]:
    """The variables of this process that the code of a version may see: an allow-list, no list of secrets."""
    return {name: value for name, value in os.environ.items() if _is_allowed(name.upper())}


def _is_allowed(name: str) -> bool:
    return (name in NAMES or name.startswith(PREFIXES)) and not any(word in name for word in SECRETS)


def run_script(
    script: str, *arguments: str, limit: float | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a script of this folder, in an empty folder that is removed, and with these variables besides.

    `stderr` is kept. Raises subprocess.TimeoutExpired after `limit` seconds; however this call ends, its process does.
    """
    # -P: the folder of the script must not come first in sys.path, or our statistics.py hides Python's own.
    command = [sys.executable, "-P", str(Path(__file__).with_name(script)), *arguments]
    own = {**environment(), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            command, cwd=folder, env=own, text=True, errors="replace", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            errors = process.communicate(timeout=limit)[1]
        finally:
            _end(process)
    return subprocess.CompletedProcess(command, process.returncode, "", errors)


def _end(process: subprocess.Popen[str]) -> None:
    """Ends the process with all that it has started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
