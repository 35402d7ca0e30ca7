"""The model in the registry: it takes what a user has, because the preprocessing travels with it.

MLflow loads this file itself ("models from code"); in the folder `code` next to it lies a copy of the few modules that
it needs: no pickle, and no shape of an example that is frozen into the model.
"""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

if TYPE_CHECKING:
    from pipeline.tasks.task import Task


class Servable(PythonModel):
    """A network that answers requests in the words of its task."""

    task: Task

    def load_context(self, context: PythonModelContext) -> None:
        """Reads model.json and model.safetensors. MLflow hands this over by name: it must be called `context`."""
        network = import_module(f"{own_package()}.tasks.network")
        folder = Path(context.artifacts["model"]).parent
        self.task, self.network, self.card, _ = network.load_network(folder)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The task's answer to a frame like the model's input example.

        What is wrong with a request goes back to its sender as it stands: over HTTP, MLflow would put a trace of this
        machine's code into its place.
        """
        try:
            return self.task.answer(self.network, model_input, self.card)
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def own_package() -> str:
    """The name under which this process runs the code next to this file, and nothing else.

    In a process with several models and a checkout, the name that the package has on disk says too little: a copy of it
    may have been edited, or lie in a folder that is gone before a module is first needed. So it follows from place and
    content, and sys.path is not asked.
    """
    (folder,) = Path(__file__).resolve().parent.glob("code/pipeline_*/")
    files = sorted(folder.rglob("*.py"))
    content = repr([(str(file), file.read_bytes()) for file in files])
    name = f"{folder.name}_{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return name


set_model(Servable())
