"""The parts of sentiment analysis that training needs: networks, losses and what they are made of."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.data.tables import Card
from pipeline.models.encoder import Pooling, pooled
from pipeline.tasks.task import Encoders


class SentenceClassifier(nn.Module):
    """Looks the tokens up, encodes them, pools the features over the steps and weighs the classes."""

    def __init__(
        self, encoders: Encoders, card: Card, *, embedding: int, embedding_dropout: float, word_dropout: float,
        pooling: Pooling, label_smoothing: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.table = nn.Embedding(card["vocabulary"], embedding, padding_idx=card["special"]["padding"])
        # Small: a word that occurs a few times is moved a few times, and has to become more than what it was drawn as.
        nn.init.normal_(self.table.weight, std=embedding**-0.5)
        self.unknown: int = card["special"]["unknown"]
        self.dropout = nn.Dropout(embedding_dropout)
        self.encoder = encoders(embedding)
        self.pooling: Pooling = pooling
        width = self.encoder.out_channels * (2 if pooling == "mean_and_maximum" else 1)
        self.head = nn.Linear(width, len(card["classes"]))
        self.word_dropout, self.label_smoothing = word_dropout, label_smoothing

    def forward(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        """Maps (B, T) and, where they differ, lengths (B,) to (B, classes) logits."""
        vectors = self.dropout(self.table(tokens)).transpose(1, 2)  # (B, E, T)
        features = self.encoder(vectors, lengths).float()  # (B, F, T'), zero in padding
        logits: Tensor = self.head(pooled(features, lengths, self.encoder.stride, self.pooling))
        return logits
