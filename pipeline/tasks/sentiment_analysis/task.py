"""Sentiment analysis: one label for a sentence, on features pooled over its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.data.tables import Batch, Card, Prepared, Table
from pipeline.models.encoder import Pooling, check_pooling, check_ranges, trimmed
from pipeline.tasks.sentiment_analysis.network import SentenceClassifier
from pipeline.tasks.settings import YES_OR_NO, whole
from pipeline.tasks.task import ClassificationTask, Encoders

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

AT_ONCE = 16_384  # tokens that are predicted together: enough to be quick, few enough for any memory


class SentimentAnalysis(ClassificationTask):
    dimensions = 1
    reads = "text"
    lengths = ("lengths",)
    SETTINGS: ClassVar = {"vocabulary": whole(16, 100_000), "lowercase": YES_OR_NO, "longest": whole(1, 10_000)}
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "embedding": (4, 4096), "embedding_dropout": (0.0, 0.9), "word_dropout": (0.0, 0.9),
        "label_smoothing": (0.0, 0.9),
    }  # fmt: skip

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.tasks.sentiment_analysis.preparation import prepare_labelled_text

        return prepare_labelled_text(dict(parts), split, seed, **{name: self.settings[name] for name in self.SETTINGS})

    def examples(self, table: Table, card: Card) -> Batch:
        """Returns tokens (N, T), padded behind the lengths (N,), and labels (N,)."""
        return {"tokens": table["tokens"].long(), "lengths": table["lengths"], "labels": table["labels"]}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, embedding: int, embedding_dropout: float, word_dropout: float,
        pooling: Pooling, label_smoothing: float,
    ) -> SentenceClassifier:  # fmt: skip
        """Takes `word_dropout`, the share of tokens that become unknown ones in training (Iyyer et al. 2015)."""
        check_pooling(pooling)
        numbers = {"embedding_dropout": embedding_dropout, "word_dropout": word_dropout}
        check_ranges(self.RANGES, embedding=embedding, label_smoothing=label_smoothing, **numbers)
        return SentenceClassifier(
            encoders, card, embedding=embedding, pooling=pooling, label_smoothing=label_smoothing, **numbers
        )

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        assert isinstance(network, SentenceClassifier)
        if not network.word_dropout:
            return batch
        tokens = batch["tokens"]
        dropped = torch.rand(tokens.shape, device=tokens.device) < network.word_dropout
        return {**batch, "tokens": tokens.masked_fill(dropped, network.unknown)}  # encoders do not look at padding

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        logits: Tensor = network(*trimmed(batch["tokens"], batch["lengths"]))
        return logits

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        from pipeline.tasks.classification import prediction_table
        from pipeline.tasks.network import by_length

        logits = by_length(network, examples["tokens"], examples["lengths"], AT_ONCE)
        return prediction_table(logits.softmax(1).double().cpu().numpy(), examples["labels"].cpu().numpy())

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.data.tokens import as_texts
        from pipeline.tasks.classification import calibrated
        from pipeline.tasks.sentiment_analysis.baselines import logistic_regression

        texts = {split: as_texts(table["text"].numpy()) for split, table in tables.items()}
        labels = {split: table["labels"].numpy() for split, table in tables.items()}
        return {"logistic_regression": calibrated(logistic_regression(texts, labels), labels)}

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.data.tokens import as_texts
        from pipeline.tasks.plots import confusion_matrix
        from pipeline.tasks.sentiment_analysis.plots import labelled_sentences

        texts = as_texts(table["text"].numpy())
        return [
            confusion_matrix(predictions, card["classes"], folder / "confusion.png", title),
            labelled_sentences(predictions, texts, card, folder / "sentences.png", title),
        ]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.data.tokens import as_texts

        return pd.DataFrame({"text": as_texts(table["text"][:3].numpy())})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.data.tokens import Tokenizer
        from pipeline.formats.contents import normalised
        from pipeline.tasks.classification import class_answer, probability_columns
        from pipeline.tasks.requests import texts_of
        from pipeline.tasks.sentiment_analysis.preparation import token_table

        texts = [normalised(text, card["lowercase"]) for text in texts_of(request)]
        if not texts:
            return pd.DataFrame({name: [] for name in ("class", "confidence", *probability_columns(card))})
        rows = token_table(Tokenizer(card["tokenizer"]).encode(texts), card["longest"])
        table = {name: torch.from_numpy(array) for name, array in rows.items()}
        table["labels"] = torch.full((len(texts),), -1)
        return class_answer(self.predict(network, self.examples(table, card), card), card)

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.data.tokens import as_texts
        from pipeline.tasks.probes import BATCHES
        from pipeline.tasks.sentiment_analysis.probes import sentence_probes

        return sentence_probes(as_texts(table["text"][: max(BATCHES)].numpy()), predictions, card)
