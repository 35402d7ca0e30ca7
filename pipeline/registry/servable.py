"""The model in the registry: it takes what a user has, because the preprocessing travels with it.

MLflow loads this file itself ("models from code"), beside a copy of the few modules of this package that it needs:
no pickle, and no shape of an example that is frozen into the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Servable(PythonModel):
    """A network that answers requests in the words of its task."""

    def load_context(self, context: PythonModelContext) -> None:
        """Reads model.json and model.safetensors. MLflow hands this over by name: it must be called `context`."""
        from pipeline.tasks.network import load_network

        folder = Path(context.artifacts["model"]).parent
        self.task, self.network, self.card, _ = load_network(folder)

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


set_model(Servable())
