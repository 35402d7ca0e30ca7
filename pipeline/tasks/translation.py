"""Translation: a sentence is read by one encoder and written, token by token, by others that look back at it.

Reader and writers are encoders of the candidate's family: with convolutions that is the convolutional
sequence-to-sequence network of Gehring et al. (2017), with recurrent cells the one of Luong et al. (2015).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Prepared, Table
from pipeline.models.encoder import check_ranges, inside
from pipeline.tasks.settings import YES_OR_NO, number, whole
from pipeline.tasks.task import Batch, Card, Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

AT_ONCE = 64  # sentences that are translated together


class Embedding(nn.Module):
    """Tokens as vectors, with their positions."""

    def __init__(self, vocabulary: int, padding: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, channels, padding_idx=padding)
        nn.init.normal_(self.table.weight, std=channels**-0.5)
        self.scale = channels**0.5
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) → (B, E, T)."""
        vectors = self.table(tokens) * self.scale
        vectors = vectors + positions(tokens.shape[1], vectors.shape[2], tokens.device)
        dropped: Tensor = self.dropout(vectors)
        return dropped.transpose(1, 2)


class Attention(nn.Module):
    """Adds to each step what it finds in a memory (scaled dot products of several heads, Vaswani et al. 2017)."""

    def __init__(self, channels: int, memory_channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_and_value = nn.Linear(memory_channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)

    def remember(self, features: Tensor) -> Tensor:
        """(B, S, M) what can be found → (B, S, 2 C) its keys and values, which stay the same for all steps."""
        return self.key_and_value(features)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, remembered: Tensor, known: Tensor) -> Tensor:
        """(B, T, C), what is remembered (B, S, 2 C) and (B, S) bool, where it is not padding → (B, T, C)."""
        query = self._split(self.query(x))
        key, value = map(self._split, remembered.chunk(2, dim=2))
        with torch.autocast(x.device.type, enabled=False):  # in bf16 this took six times as long on a CPU
            query, key, value = query.float(), key.float(), value.float()
            found = functional.scaled_dot_product_attention(query, key, value, attn_mask=known[:, None, None, :])
        normalised: Tensor = self.norm(x + self.out(found.transpose(1, 2).flatten(2)))
        return normalised

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, T, C / heads)


def positions(steps: int, channels: int, device: torch.device) -> Tensor:
    """(steps, channels) sines and cosines of growing wavelength, for any number of steps (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, channels, 2, device=device) * (-math.log(10_000.0) / channels))
    angles = torch.arange(steps, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :channels]


class Translator(nn.Module):
    """Reads a sentence and tells of each position what comes next."""

    def __init__(
        self, encoders: Encoders, card: Card, *, embedding: int, heads: int, hops: int, embedding_dropout: float,
        label_smoothing: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.label_smoothing = label_smoothing
        self.padding, self.begin, self.end = (card["special"][name] for name in ("padding", "begin", "end"))
        self.source = Embedding(card["source_vocabulary"], self.padding, embedding, embedding_dropout)
        self.target = Embedding(card["target_vocabulary"], self.padding, embedding, embedding_dropout)
        self.reader: Any = encoders(embedding)
        writers: list[Any] = [encoders(embedding, causal=True)]
        width = writers[0].out_channels
        writers += [encoders(width, causal=True) for _ in range(hops - 1)]
        if width % heads:
            raise ValueError(f"heads is {heads}, allowed is a divisor of the {width} channels of the features")
        if writers[0].stride != 1:
            raise ValueError(f"patch is {writers[0].stride}, allowed is 1: a translation is written token by token")
        self.writers = nn.ModuleList(writers)
        self.attentions: Any = nn.ModuleList(Attention(width, self.reader.out_channels, heads) for _ in writers)
        self.narrow = nn.Linear(width, embedding)
        self.bias = nn.Parameter(torch.zeros(card["target_vocabulary"]))

    def read(self, source: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """(B, S) tokens and (B,) lengths → what each hop remembers, (B, S, 2 C), and where it is no padding, (B, S)."""
        features = self.reader(self.source(source), lengths).transpose(1, 2)  # (B, S, M)
        known = inside(lengths, source.shape[1])
        assert known is not None
        return [attention.remember(features) for attention in self.attentions], known

    def write(self, tokens: Tensor, memory: Sequence[Tensor], known: Tensor) -> Tensor:
        """(B, T) tokens, the first of which is `begin`, and what `read` found → (B, T, C) features of the next."""
        x = self.target(tokens)
        for writer, attention, remembered in zip(self.writers, self.attentions, memory, strict=True):
            x = attention(writer(x).transpose(1, 2), remembered, known).transpose(1, 2)
        features: Tensor = x.transpose(1, 2)
        return features

    def logits(self, written: Tensor) -> Tensor:
        """(…, C) of `write` → (…, V) of the next token: much of the work, so only where somebody asks for it."""
        return functional.linear(self.narrow(written), self.target.table.weight, self.bias)


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
        from pipeline.data.pairs import prepare_pairs

        chosen = {name: self.settings[name] for name in ("vocabulary", "lowercase", "longest")}
        return prepare_pairs(dict(parts), split, seed, **chosen)

    def examples(self, table: Table, card: Card) -> Batch:
        """Tokens (N, S) and (N, T), lengths (N,), and both sentences (N, L) as bytes."""
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
        """As it is: a changed sentence would need another translation."""
        return batch

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        """(N, V) logits of the targets' tokens, sentence by sentence, each with those before it known."""
        assert isinstance(network, Translator)
        source, target = (
            batch[side][:, : int(batch[f"{side}_lengths"].max())] for side in ("source", "target")
        )  # padding that all have is no work
        memory, known = network.read(source, batch["source_lengths"])
        written = network.write(functional.pad(target[:, :-1], (1, 0), value=network.begin), memory, known)
        rows = (target != network.padding).flatten().nonzero().squeeze(1)
        return network.logits(written.flatten(0, 1).index_select(0, rows))

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of a token."""
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
        """The tokens of the translations, without the end; sentences of similar length are translated together."""
        assert isinstance(network, Translator)
        source, lengths = batch["source"], batch["source_lengths"]
        found: list[list[int]] = [[]] * len(source)
        for rows in torch.split(lengths.argsort(stable=True), AT_ONCE):
            longest = int(lengths[rows].max())
            memory, known = network.read(source[rows, :longest], lengths[rows])
            tokens = self._written(network, memory, known, 2 * lengths[rows] + 10)
            for row, written in zip(rows.tolist(), tokens.tolist(), strict=True):
                found[row] = written[: written.index(network.end)]
        return found

    def _written(self, network: Translator, memory: list[Tensor], known: Tensor, limits: Tensor) -> Tensor:
        from pipeline.tasks.beam import beam_search

        beams = self.settings["beams"]

        def following(tokens: Tensor, sentences: Tensor) -> Tensor:
            written = network.write(tokens, [remembered[sentences] for remembered in memory], known[sentences])
            return network.logits(written[:, -1]).log_softmax(1)

        special, penalty = (network.padding, network.begin, network.end), self.settings["length_penalty"]
        return beam_search(following, limits, beams=beams, penalty=penalty, special=special)

    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        from pipeline.data.tokens import Tokenizer
        from pipeline.tasks.text_scores import compared

        found = Tokenizer(card["target_tokenizer"]).decode(self.infer(network, examples))
        return compared(examples, found, card["lowercase"])

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.text_scores import COUNTS, bleu, chrf

        counts = weights @ predictions[COUNTS].to_numpy(np.float64)  # (R, 28)
        ratio = counts[:, 0] / np.maximum(counts[:, 1], 1e-12)
        return {"bleu": bleu(counts), "chrf": chrf(counts), "length_ratio": ratio}

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        from pipeline.tasks.text_scores import COUNTS, sentence_bleu

        return sentence_bleu(predictions[COUNTS].to_numpy(np.float64))

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.dictionary import word_by_word

        return {"word_by_word": word_by_word(tables)}

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.sentence_guesses import sentence_guesses

        return sentence_guesses(tables)

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.pictures import score_by_length, translated_sentences
        from pipeline.tasks.text_scores import signature

        scores = self.example_scores(predictions)
        said = f"{title}, {signature(card['lowercase'])}"
        return [
            translated_sentences(predictions, scores, folder / "translations.png", title),
            score_by_length(predictions, scores, folder / "bleu_by_length.png", said),
        ]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.data.tokens import as_texts

        return pd.DataFrame({"text": as_texts(table["text"][:3].numpy())})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.data.requests import texts_of
        from pipeline.data.tokens import Tokenizer, normalised, padded

        texts = [normalised(text, card["lowercase"]) for text in texts_of(request)]
        if not texts:
            return pd.DataFrame({"translation": pd.Series([], dtype=object)})
        source, lengths = padded(Tokenizer(card["source_tokenizer"]).encode(texts))
        batch = {"source": torch.from_numpy(source).long(), "source_lengths": torch.from_numpy(lengths)}
        found = Tokenizer(card["target_tokenizer"]).decode(self.infer(network, batch))
        return pd.DataFrame({"translation": pd.Series(found, dtype=object)})

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.text_scores import compared

        return compared(table, responses["translation"].tolist(), card["lowercase"])

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.probes import translation_probes

        return translation_probes(predictions)
