"""Translation: a sentence is read by one encoder and written, token by token, by others that look back at it.

Reader and writers are encoders of the candidate's family: with convolutions that is the convolutional
sequence-to-sequence network of Gehring et al. (2017), with recurrent cells the one of Luong et al. (2015).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Batch, Card, Prepared, Table
from pipeline.models.encoder import check_ranges
from pipeline.tasks.settings import YES_OR_NO, number, whole
from pipeline.tasks.task import Encoders, Task
from pipeline.tasks.translation.network import Translator

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

AT_ONCE = 64  # sentences that are translated together


class Translation(Task):
    score = "bleu"
    maximize = True
    dimensions = 1
    dependent = False
    corpus = True
    lengths = ("source_lengths", "target_lengths")
    reads = "text"
    SETTINGS: ClassVar = {
        "vocabulary": whole(16, 100_000), "lowercase": YES_OR_NO, "longest": whole(1, 10_000), "beams": whole(1, 64),
        "length_penalty": number(0, 10),
    }  # fmt: skip
    ANSWERING = frozenset({"beams", "length_penalty"})
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "embedding": (8, 4096), "heads": (1, 64), "hops": (1, 24), "embedding_dropout": (0.0, 0.9),
        "label_smoothing": (0.0, 0.9),
    }  # fmt: skip

    @property
    def bf16_pays(self) -> bool:
        return True  # each token is multiplied with all of the vocabulary

    @property
    def progress(self) -> str:
        return "token_accuracy"

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.tasks.translation.preparation import prepare_pairs

        chosen = {name: self.settings[name] for name in ("vocabulary", "lowercase", "longest")}
        return prepare_pairs(dict(parts), split, seed, **chosen)

    def examples(self, table: Table, card: Card) -> Batch:
        """Returns tokens (N, S) and (N, T), lengths (N,), and both sentences (N, L) as bytes."""
        tokens = {side: table[side].long() for side in ("source", "target")}
        return {**tokens, **{name: table[name] for name in ("source_lengths", "target_lengths", "text", "reference")}}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, embedding: int, heads: int, hops: int, embedding_dropout: float,
        label_smoothing: float,
    ) -> Translator:  # fmt: skip
        check_ranges(
            self.RANGES, embedding=embedding, heads=heads, hops=hops, embedding_dropout=embedding_dropout,
            label_smoothing=label_smoothing,
        )  # fmt: skip
        return Translator(
            encoders, card, embedding=embedding, heads=heads, hops=hops, embedding_dropout=embedding_dropout,
            label_smoothing=label_smoothing,
        )  # fmt: skip

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        """Leaves the batch as it is: a changed sentence would need another translation."""
        return batch

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        """Returns (N, V) logits of the targets' tokens, sentence by sentence, each with those before it known."""
        assert isinstance(network, Translator)
        source, target = (
            batch[side][:, : int(batch[f"{side}_lengths"].max())] for side in ("source", "target")
        )  # padding that all have costs nothing
        memory, known = network.read(source, batch["source_lengths"])
        written = network.write(functional.pad(target[:, :-1], (1, 0), value=network.begin), memory, known)
        rows = (target != network.padding).flatten().nonzero().squeeze(1)
        return network.logits(written.flatten(0, 1).index_select(0, rows))

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Computes the mean cross-entropy of a token."""
        assert isinstance(network, Translator)
        wanted = batch["target"][batch["target"] != network.padding]
        smoothing = network.label_smoothing if network.training else 0.0
        return functional.cross_entropy(output.float(), wanted, label_smoothing=smoothing)

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        known = batch["target"] != card["special"]["padding"]
        right = torch.zeros_like(known)
        right[known] = output.argmax(1) == batch["target"][known]
        return right.sum(1) / known.sum(1)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def infer(self, network: nn.Module, batch: Batch) -> list[list[int]]:
        """Returns tokens of the translations, without the end; sentences of similar length are translated together."""
        assert isinstance(network, Translator)
        source, lengths = batch["source"], batch["source_lengths"]
        translations: list[list[int]] = [[]] * len(source)
        for rows in torch.split(lengths.argsort(stable=True), AT_ONCE):
            longest = int(lengths[rows].max())
            memory, known = network.read(source[rows, :longest], lengths[rows])
            tokens = self._written(network, memory, known, 2 * lengths[rows] + 10)
            for row, written in zip(rows.tolist(), tokens.tolist(), strict=True):
                translations[row] = written[: written.index(network.end)]
        return translations

    def _written(self, network: Translator, memory: list[Tensor], known: Tensor, limits: Tensor) -> Tensor:
        from pipeline.tasks.translation.beam_search import beam_search

        beams = self.settings["beams"]

        def following(tokens: Tensor, sentences: Tensor) -> Tensor:
            written = network.write(tokens, [remembered[sentences] for remembered in memory], known[sentences])
            return network.logits(written[:, -1]).log_softmax(1)

        special, penalty = (network.padding, network.begin, network.end), self.settings["length_penalty"]
        return beam_search(following, limits, beams=beams, penalty=penalty, special=special)

    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        from pipeline.data.tokens import Tokenizer
        from pipeline.tasks.translation.metrics import compared

        translations = Tokenizer(card["target_tokenizer"]).decode(self.infer(network, examples))
        return compared(examples, translations, card["lowercase"])

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.translation.metrics import COUNTS, bleu, chrf

        counts = weights @ predictions[COUNTS].to_numpy(np.float64)  # (R, 28)
        ratio = counts[:, 0] / np.maximum(counts[:, 1], 1e-12)
        return {"bleu": bleu(counts), "chrf": chrf(counts), "length_ratio": ratio}

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        from pipeline.tasks.translation.metrics import COUNTS, sentence_bleu

        return sentence_bleu(predictions[COUNTS].to_numpy(np.float64))

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.translation.baselines import word_by_word

        return {"word_by_word": word_by_word(tables)}

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.translation.guesses import sentence_guesses

        return sentence_guesses(tables)

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.translation.metrics import signature
        from pipeline.tasks.translation.plots import score_by_length, translated_sentences

        scores = self.example_scores(predictions)
        title_with_signature = f"{title}, {signature(card['lowercase'])}"
        return [
            translated_sentences(predictions, scores, folder / "translations.png", title),
            score_by_length(predictions, scores, folder / "bleu_by_length.png", title_with_signature),
        ]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.data.tokens import as_texts

        return pd.DataFrame({"text": as_texts(table["text"][:3].numpy())})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.data.tokens import Tokenizer, padded
        from pipeline.formats.contents import normalised
        from pipeline.tasks.requests import texts_of

        texts = [normalised(text, card["lowercase"]) for text in texts_of(request)]
        if not texts:
            return pd.DataFrame({"translation": pd.Series([], dtype=object)})
        source, lengths = padded(Tokenizer(card["source_tokenizer"]).encode(texts))
        batch = {"source": torch.from_numpy(source).long(), "source_lengths": torch.from_numpy(lengths)}
        translations = Tokenizer(card["target_tokenizer"]).decode(self.infer(network, batch))
        return pd.DataFrame({"translation": pd.Series(translations, dtype=object)})

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.translation.metrics import compared

        return compared(table, responses["translation"].tolist(), card["lowercase"])

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.probes import translation_probes

        return translation_probes(predictions)
