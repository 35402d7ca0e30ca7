"""The interface of every task to the stages: the one door between the families and the rest of the pipeline.

A task never asks which family works for it. It puts a head on an encoder, defines the loss and the score of a
prediction, and draws what a person needs to see.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Batch, Card, Prepared, Table
from pipeline.models.encoder import Encoder
from pipeline.tasks.settings import Allowed, check_settings

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

# Makes an encoder of the candidate's family for inputs with so many channels. With `causal`, position t of its features
# sees nothing after t. A task may ask for several, such as one for what it reads and one for what it writes.
Encoders = Callable[..., Encoder]


class Task(ABC):
    """One use of a network.

    Predictions are data frames with one row per example (the column ``example`` counts them from 0 in the order of
    the table), so that two models can be compared example by example.
    """

    score: str  # the metric that picks on validation and decides at the gate; a setting may name it
    maximize: ClassVar[bool]  # whether a higher score is better
    dimensions: ClassVar[int]  # of the encoder's input: 2 for a grid (B, C, H, W), 1 for a sequence (B, C, T)
    SETTINGS: ClassVar[Mapping[str, Allowed]]  # the keys of `settings` in params.yaml, and what each may be
    ANSWERING: ClassVar[frozenset[str]] = frozenset()  # those of SETTINGS that only answers and their figures depend on
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {}  # lowest and highest value of the task's parameters
    dependent: ClassVar[bool]  # whether neighbouring examples overlap in time, so that resampling needs blocks
    corpus: ClassVar[bool] = False  # whether the score is of all examples together and not a mean of single ones
    references: ClassVar[frozenset[str]] = frozenset()  # baselines that show what is possible at any price: no rivals
    lengths: ClassVar[tuple[str, ...]] = ()  # tensors of `examples` by which batches are grouped: the first decides
    reads: ClassVar[str]  # what a file for `predict` holds: a name in READERS of request_files.py
    MATCHING: ClassVar[tuple[str, ...]] = ()  # entries of the card that two models must share to be compared

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Takes the experiment's `settings` of params.yaml, for a search without those in ANSWERING.

        Raises ValueError for what they may not be.
        """
        needed = {
            name: allowed for name, allowed in self.SETTINGS.items() if name in settings or name not in self.ANSWERING
        }
        check_settings(needed, settings)
        self.settings = settings

    @property
    def search_settings(self) -> dict[str, Any]:
        """Returns the settings that a search depends on: the card carries them to it."""
        return {name: value for name, value in self.settings.items() if name not in self.ANSWERING}

    @property
    def bf16_pays(self) -> bool:
        """Whether products of matrices are so much of the work that `precision: auto` takes bf16 for them."""
        return self.dimensions == 2

    @abstractmethod
    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        """Splits raw records and turns them into tables of tensors and a card. Fits on train only."""

    @abstractmethod
    def examples(self, table: Table, card: Card) -> Batch:
        """Returns tensors whose first dimension counts the examples of one split."""

    @abstractmethod
    def network(self, encoders: Encoders, card: Card, **parameters: Any) -> nn.Module:
        """Puts the task's head on an encoder; `encoders(channels, causal=…)` makes one of the candidate's family.

        The keyword-only arguments of an implementation are the task's parameters in params.yaml. The network keeps
        what the loss and the augmentation need.
        """

    @abstractmethod
    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        """Returns a batch as the network sees it in training; random by torch's generator."""

    @abstractmethod
    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        """Computes the output for a batch in training, (B, …) or (N, …) with several parts of each example in a row.

        The loss looks at it.
        """

    def infer(self, network: nn.Module, batch: Batch) -> Any:
        """Computes what `predict` needs of a batch: the work behind an answer, whose cost is measured."""
        return self.output(network, batch)

    @abstractmethod
    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Computes the mean loss of a batch, a scalar; regularised while `network.training`."""

    @property
    def progress(self) -> str:
        """Names the mean of `scores`: the score, unless that is of all examples together."""
        return self.score

    @abstractmethod
    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        """Returns (B,) contributions of the examples to the figure that is shown while a fit runs."""

    @abstractmethod
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        """Returns one row per example (and step), with the truth next to the prediction."""

    @abstractmethod
    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Returns all figures of a prediction table, (R,) values each, if every example counted `weights` (R, N) times.

        `score` is one of them. Weights make bootstrap intervals of any figure a few matrix products.
        """

    def metrics(self, predictions: pd.DataFrame, card: Card) -> dict[str, float]:
        """Computes the figures of the table as it is."""
        once = np.ones((1, int(predictions["example"].max()) + 1))
        return {name: float(values[0]) for name, values in self.resampled_metrics(predictions, card, once).items()}

    @abstractmethod
    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        """Returns (N,) contributions whose mean is the score, in the order of the examples.

        For a corpus score (BLEU, word error rate, F1) any figure of single examples that is of interest.
        """

    def shares(self, predictions: pd.DataFrame) -> dict[str, tuple[int, int]]:
        """Returns figures that are shares of counted examples: {figure: (hits, count)}. The score itself needs none."""
        return {}

    def untested_classes(self, predictions: pd.DataFrame, card: Card) -> list[str]:
        """Lists the classes without a test example; none where there are no classes."""
        from pipeline.tasks.classes import untested_classes

        return untested_classes(predictions, card)

    def never_predicted(self, predictions: pd.DataFrame, card: Card) -> list[str]:
        """Lists the classes that are given to no test example."""
        from pipeline.tasks.classes import never_predicted

        return never_predicted(predictions, card)

    def block(self, card: Card) -> int | None:
        """Returns how many neighbouring examples are resampled together; None where examples are independent."""
        return None

    @abstractmethod
    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        """Returns predictions of classical methods: {name: {"validation": table, "test": table}}."""

    @abstractmethod
    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        """Returns predictions that need no model, of the form of `baselines`, fitted on train only.

        What does not beat all of them has learned nothing from its input.
        """

    @abstractmethod
    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        """Draws the predictions into `folder` and returns the files."""

    @abstractmethod
    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        """Returns an example of a request to the served model, made of the first examples of a table."""

    @abstractmethod
    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        """Answers a request as the served model: preprocessing, prediction and names that a user understands."""

    def request(self, file: Path, card: Card, options: Mapping[str, Any]) -> pd.DataFrame:
        """Reads the file of a user as a request; `options` are those of the experiment's data in params.yaml.

        Raises ValueError naming the file, and the line of a table, for what cannot be read.
        """
        from pipeline.tasks.request_files import READERS

        return READERS[self.reads](file, card, options)

    def respond(self, network: nn.Module, requests: pd.DataFrame, card: Card) -> pd.DataFrame:
        """Answers the test examples as a user would send them, by the model's own preprocessing and settings.

        `requests` may come from data that were prepared for a later model; `predictions_of` makes predictions of the
        answers that are scored like those of any other model. Raises ValueError for what it cannot answer.
        """
        return self.answer(network, requests, card)

    @abstractmethod
    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        """Makes predictions, as of `predict`, of any model's responses to the examples of a table, with its truth."""

    def drawings(self, request: pd.DataFrame, answer: pd.DataFrame, card: Card) -> list[bytes]:
        """Returns the answer to one file as PNG files, where pictures show what rows cannot: those it holds."""
        held = (answer[name] for name in answer if len(answer) and isinstance(answer[name].iloc[0], bytes))
        return [picture for column in held for picture in column]

    @abstractmethod
    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        """Lists requests that try the served model before it is promoted, along all that its signature leaves open.

        What it must answer to the examples of `table` comes from their stored `predictions`.
        """


class ClassificationTask(Task):
    """A task that gives one of the card's `classes` to an example.

    Its network answers (B, classes) logits and keeps `label_smoothing`; its batches have `labels` (B,).
    """

    score = "accuracy"
    maximize = True
    dependent = False
    MATCHING: ClassVar[tuple[str, ...]] = ("classes",)

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Computes the cross-entropy, with smoothed labels in training."""
        smoothing = float(network.label_smoothing) if network.training else 0.0  # type: ignore[arg-type]
        return functional.cross_entropy(output.float(), batch["labels"], label_smoothing=smoothing)

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        return (output.argmax(1) == batch["labels"]).float()

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.classification import resampled_metrics

        return resampled_metrics(predictions, card, weights)

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        from pipeline.tasks.classification import example_scores

        return example_scores(predictions)

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.class_guesses import class_guesses

        return class_guesses(tables, card)

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.classification import predictions_of

        return predictions_of(responses, table["labels"].numpy(), card)

    def shares(self, predictions: pd.DataFrame) -> dict[str, tuple[int, int]]:
        from pipeline.tasks.classification import worst_class_counts

        return {"worst_class_recall": worst_class_counts(predictions)}
