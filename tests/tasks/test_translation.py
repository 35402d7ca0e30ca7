"""Translation: scores are those of sacrebleu, the search finds what is likeliest, and padding changes nothing."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
from torch import Tensor

from pipeline.data.tables import read_card, read_table
from pipeline.models import FAMILIES
from pipeline.params import load
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network
from pipeline.tasks.translation.baselines import Dictionary
from pipeline.tasks.translation.beam_search import beam_search
from pipeline.tasks.translation.metrics import bleu, chrf, counts_of, sentence_bleu, signature

PADDING, BEGIN, END = 0, 2, 3
FOUND = ["the cat sat on the mat .", "a dog runs in the park today", "nothing", "two men in a boat , at sea ."]
TRUTH = ["the cat is on the mat .", "a dog is running in a park", "something else here", "two men in a boat at sea ."]


def test_scores_are_those_of_sacrebleu_also_for_a_part_of_the_sentences() -> None:
    counts = counts_of(FOUND, TRUTH)
    for rows in ([0, 1, 2, 3], [0, 3, 3], [1], [0, 0, 1]):
        found, truth = [FOUND[row] for row in rows], [TRUTH[row] for row in rows]
        weights = np.bincount(rows, minlength=4)[None].astype(float)
        assert bleu(weights @ counts)[0] == pytest.approx(sacrebleu.corpus_bleu(found, [truth]).score, rel=1e-9)
        assert chrf(weights @ counts)[0] == pytest.approx(sacrebleu.corpus_chrf(found, [truth]).score, rel=1e-9)
    for row, score in enumerate(sentence_bleu(counts)):
        assert score == pytest.approx(sacrebleu.sentence_bleu(FOUND[row], [TRUTH[row]]).score, rel=1e-9)
    assert "case:lc" in signature(True) and "case:mixed" in signature(False)


def likelihoods(vocabulary: int, steps: int, seed: int = 3) -> Tensor:
    """(steps, V, V) log probabilities of a token by its place and by the one before it."""
    return torch.randn(steps, vocabulary, vocabulary, generator=torch.Generator().manual_seed(seed)).log_softmax(2)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_the_search_finds_the_best_of_all_sequences(penalty: float) -> None:
    tables, steps = [likelihoods(6, 4, seed) for seed in (3, 4)], 4

    def following(tokens: Tensor, examples: Tensor) -> Tensor:
        return torch.stack(tables)[examples, tokens.shape[1] - 1, tokens[:, -1]]

    def score(table: Tensor, sequence: tuple[int, ...]) -> float:
        before = (BEGIN, *sequence[:-1])
        total = sum(
            float(table[place, one, other]) for place, (one, other) in enumerate(zip(before, sequence, strict=True))
        )
        return total / len(sequence) ** penalty

    words = [token for token in range(6) if token not in (PADDING, BEGIN, END)]
    all_sequences = [(*inner, END) for length in range(steps) for inner in itertools.product(words, repeat=length)]
    best = [max(all_sequences, key=functools.partial(score, table)) for table in tables]
    found = beam_search(
        following, torch.tensor([steps, steps]), beams=64, penalty=penalty, special=(PADDING, BEGIN, END)
    )
    assert [tuple(token for token in row if token != PADDING) for row in found.tolist()] == best
    assert best[0] != best[1]
    (greedy,) = beam_search(
        following, torch.tensor([2]), beams=1, penalty=penalty, special=(PADDING, BEGIN, END)
    ).tolist()
    assert len(greedy) <= 2 and greedy[-1] == END, "the limit holds"


def test_the_search_asks_no_more_about_what_has_ended() -> None:
    tables = torch.stack([likelihoods(6, 9, seed) for seed in range(4)])
    words = torch.tensor([1, 6, 3, 5])  # after which a translation ends, in all of its beams
    asked: list[list[int]] = []

    def search(examples: list[int], limits: list[int]) -> list[list[int]]:
        def following(tokens: Tensor, rows: Tensor) -> Tensor:
            asked.append(sorted({examples[row] for row in rows.tolist()}))
            which = torch.tensor(examples)[rows]
            found = tables[which, tokens.shape[1] - 1, tokens[:, -1]].clone()
            over = tokens.shape[1] > words[which]
            found[over] = torch.full((6,), -99.0).index_fill(0, torch.tensor(END), -0.1)
            found[~over, END] = -99.0
            return found

        found = beam_search(following, torch.tensor(limits), beams=3, penalty=1.0, special=(PADDING, BEGIN, END))
        return [[token for token in row if token != PADDING] for row in found.tolist()]

    together = search([0, 1, 2, 3], [8, 8, 8, 8])
    assert asked == [[0, 1, 2, 3]] * 2 + [[1, 2, 3]] * 2 + [[1, 3]] * 2 + [[1]]
    assert [len(translation) for translation in together] == [2, 7, 4, 6]
    assert together == [search([example], [8])[0] for example in range(4)]
    limited = search([0, 1, 2, 3], [8, 5, 3, 8])
    assert [len(translation) for translation in limited] == [2, 5, 3, 6], "limits hold, each for its example"


def test_the_dictionary_learns_which_word_stands_for_which() -> None:
    sources, targets = ["das haus", "das buch", "ein buch", "ein ."], ["the house", "the book", "a book", "a ."]
    words = Dictionary(sources, targets)
    assert words.translate("ein buch, das haus.") == "a book, the house."
    assert words.translate("das fahrrad") == "the fahrrad"


@pytest.fixture(scope="module")
def bench(prepared: Path) -> tuple[Any, Any, Any, Any]:
    params = load(prepared / "params.yaml")
    folder = prepared / "data/prepared/pairs"
    task, card = load_task("translation", params.experiments["pairs"].settings), read_card(folder)
    return params, task, card, task.examples(read_table(folder, "train"), card)


def network(bench: tuple[Any, Any, Any, Any], family: str) -> Any:
    params, task, card, _ = bench
    entries = params.candidates[f"pairs-{family}"].parameters.items()
    torch.manual_seed(0)
    return build_network(
        task,
        family,
        card,
        {name: getattr(entry, "choices", [getattr(entry, "high", entry)])[-1] for name, entry in entries},
    ).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_further_changes_neither_loss_nor_translation(bench: tuple[Any, Any, Any, Any], family: str) -> None:
    _, task, _, examples = bench
    model = network(bench, family)
    batch = {name: tensor[:6] for name, tensor in examples.items()}
    further = {name: torch.nn.functional.pad(batch[name], (0, 9)) for name in ("source", "target")}
    with torch.inference_mode():
        losses = [float(task.loss(model, task.output(model, found), found)) for found in (batch, {**batch, **further})]
        memory = [model.read(found["source"], batch["source_lengths"]) for found in (batch, further)]
        written = [model.write(batch["target"], *remembered) for remembered in memory]
    assert losses[0] == losses[1], "what is padding in all is cut off"
    torch.testing.assert_close(written[0], written[1])
    together, alone = task.infer(model, batch), {name: tensor[4:5] for name, tensor in batch.items()}
    assert together == task.infer(model, {**batch, **further})
    assert together[4:5] == task.infer(model, alone)


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_token_accuracy_are_those_of_all_logits_without_the_padding(
    bench: tuple[Any, Any, Any, Any], family: str
) -> None:
    _, task, card, examples = bench
    model = network(bench, family).train()
    model.label_smoothing = 0.1
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0  # of all kinds of dropout
    batch = {name: tensor[:6] for name, tensor in examples.items()}
    target, known = batch["target"], batch["target"] != PADDING
    assert not known.all(), "sentences of different length"
    before = torch.nn.functional.pad(target[:, :-1], (1, 0), value=BEGIN)
    with torch.no_grad():
        output = task.output(model, batch)
        logits = model.logits(model.write(before, *model.read(batch["source"], batch["source_lengths"])))
        loss = task.loss(model, output, batch)
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=PADDING, label_smoothing=0.1
    )
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    right = output.argmax(1)
    right[::3] = (right[::3] + 1) % logits.shape[2]
    truth = target.masked_scatter(known, right.clamp(min=1))  # two thirds of it and more are what the network says
    hits = (logits.argmax(2) == truth) & known
    assert 0.5 < float(hits.sum() / known.sum()) < 0.9
    torch.testing.assert_close(task.scores(output, {**batch, "target": truth}, card), hits.sum(1) / known.sum(1))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_knows_nothing_of_what_comes_later(bench: tuple[Any, Any, Any, Any], family: str) -> None:
    _, _, _, examples = bench
    model = network(bench, family)
    batch = {name: tensor[:4].clone() for name, tensor in examples.items()}
    with torch.inference_mode():
        memory = model.read(batch["source"], batch["source_lengths"])
        before = model.write(batch["target"], *memory)
        batch["target"][:, 4:] = 7
        after = model.write(batch["target"], *memory)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize(
    ("name", "value"), [("vocabulary", 3), ("lowercase", "yes"), ("longest", 0), ("beams", 2.5), ("length_penalty", -1)]
)
def test_settings_are_checked(bench: tuple[Any, Any, Any, Any], name: str, value: object) -> None:
    settings = dict(bench[0].experiments["pairs"].settings) | {name: value}
    with pytest.raises(ValueError, match=rf"settings\.{name}: found {value!r}; allowed: "):
        load_task("translation", settings)


def test_a_request_that_is_no_sentence_is_refused(bench: tuple[Any, Any, Any, Any]) -> None:
    import pandas as pd

    _, task, card, _ = bench
    model = network(bench, "cnn")
    with pytest.raises(ValueError, match="row 1: found 3; expected a sentence"):
        task.answer(model, pd.DataFrame({"text": ["two cats sleep .", 3]}), card)
    with pytest.raises(ValueError, match="one column `text`"):
        task.answer(model, pd.DataFrame({"sentence": ["two cats sleep ."]}), card)
