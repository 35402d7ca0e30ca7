"""Compares the candidates of an experiment with each other, with baselines and with guesses on the test split."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from pipeline.data.tables import Card, Table, read_card, read_table
from pipeline.data.threads import use_threads
from pipeline.evaluation.cost import latency
from pipeline.evaluation.intervals import corpus_score, intervals_of, resampled
from pipeline.evaluation.statistics import ModelScores, paired_difference
from pipeline.files.atomic import replaced_folder, write_json
from pipeline.models.size import multiply_adds, parameter_count
from pipeline.params import Evaluation, Params, ParamsError, nearest
from pipeline.tasks import load_task
from pipeline.tasks.network import load_network, load_weights
from pipeline.tasks.task import Task

Predictions = dict[str, pd.DataFrame]  # by split: validation, test


def main(name: str | None, params: Params) -> None:
    """Writes evaluation/<name> and metrics/<name>.json; measured latencies go to timings/."""
    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), params.experiments)}")
    experiment = params.experiments[name]
    use_threads(params.threads)
    prepared = Path("data/prepared", name)
    card = read_card(prepared)
    tables = {split: read_table(prepared, split) for split in ("train", "validation", "test")}
    task = load_task(experiment.task, experiment.settings)
    models: dict[str, dict[str, Any]] = {}
    predictions: dict[str, Predictions] = {}
    for candidate in experiment.candidates:
        models[candidate], predictions[candidate] = _candidate(Path("models", name, candidate), tables, name, candidate)
    for kind, answer in (("baseline", task.baselines), ("guess", task.guesses)):
        for other, tables_of_model in answer(tables, card, params.seed).items():
            if other in models:
                raise ParamsError(f"candidates.{other}: {other} is the name of a {kind}; rename the candidate")
            models[other] = {"kind": "reference" if other in task.references else kind}
            predictions[other] = tables_of_model
    with replaced_folder(Path("evaluation", name)) as folder:
        for model, tables_of_model in predictions.items():
            models[model] |= _measured(task, tables_of_model, card, params.evaluation, params.seed)
            _store(folder / model, tables_of_model)
            if models[model]["kind"] != "guess":  # which look the same for every example
                task.pictures(tables_of_model["test"], tables["test"], card, folder / model, model)
    metrics = {
        "experiment": name,
        "task": experiment.task,
        "score": task.score,
        "maximize": task.maximize,
        "data": card["data"],
        "test_digest": card["digests"]["test"],
        "confidence": params.evaluation.confidence,
        "resamples": params.evaluation.resamples,  # the gate draws the same
        "untested_classes": task.untested_classes(next(iter(predictions.values()))["test"], card),
        "challenger": challenger(models, task),
        "models": models,
        "differences": _differences(task, predictions, card, experiment.candidates, params.evaluation, params.seed),
    }
    write_json(Path("metrics", f"{name}.json"), metrics)
    best = metrics["models"][metrics["challenger"]]["test"][task.score]
    ends = "" if best["low"] is None else f" [{best['low']:.4g}, {best['high']:.4g}]"
    score = f"{task.score} {best['value']:.4g}{ends}"
    print(f"evaluate: {metrics['challenger']} is the challenger, test {score} → evaluation/{name}, metrics/{name}.json")


def challenger(models: dict[str, dict[str, Any]], task: Task) -> str:
    """The candidate with the best validation score; of equals the one with the lower validation loss."""
    sign = -1 if task.maximize else 1

    def rank(name: str) -> tuple[float, float]:
        return sign * models[name]["validation"][task.score], models[name]["validation_loss"]

    return min((name for name, model in models.items() if model["kind"] == "candidate"), key=rank)


def _candidate(
    folder: Path, tables: dict[str, Table], experiment: str, name: str
) -> tuple[dict[str, Any], Predictions]:
    """Returns what is known of a trained candidate and its predictions; measures its latency on the way."""
    task, network, card, description = load_network(folder)
    examples = {split: task.examples(tables[split], card) for split in ("validation", "test")}
    predictions = {split: task.predict(network, examples[split], card) for split in examples}
    first = {key: tensor[:1] for key, tensor in examples["test"].items()}
    measured = {**latency(task, network, first), "key": description["key"]}  # a limit counts for this training only
    write_json(Path("timings", experiment, name, "latency.json"), measured)
    facts = {
        "kind": "candidate",
        "family": description["family"],
        "architecture": description["parameters"]["architecture"],
        "key": description["key"],
        "parameters": parameter_count(network),
        "multiply_adds": multiply_adds(lambda: task.infer(network, first)),
        "validation_loss": description["validation"]["loss"],
        "seeds": _seeds(task, network, card, examples["test"], load_weights(folder / "repeats.safetensors")),
    }
    return facts, predictions


def _seeds(
    task: Task, network: nn.Module, card: Card, examples: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]
) -> dict[str, list[float]]:
    """The test score of every repeat: how much of a difference is only the seed."""
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    scores = []
    for repeat in sorted({key.split("/")[0] for key in weights}, key=int):
        own = {key.split("/", 1)[1]: value for key, value in weights.items() if key.startswith(f"{repeat}/")}
        network.load_state_dict(own)
        scores.append(task.metrics(task.predict(network, examples, card), card)[task.score])
    network.load_state_dict(kept)
    return {task.score: scores}


def _measured(task: Task, predictions: Predictions, card: Card, evaluation: Evaluation, seed: int) -> dict[str, Any]:
    """Validation figures, and test figures with their intervals."""
    scores = task.example_scores(predictions["test"])
    intervals = intervals_of(
        lambda weights: task.resampled_metrics(predictions["test"], card, weights),
        scores,
        score=None if task.corpus else task.score,
        block=task.block(card),
        resamples=evaluation.resamples,
        confidence=evaluation.confidence,
        seed=seed,
        shares=task.shares(predictions["test"]),
    )
    figures = {"validation": task.metrics(predictions["validation"], card), "test": intervals}
    return {**figures, "never_predicted": task.never_predicted(predictions["test"], card)}


def _store(folder: Path, predictions: Predictions) -> None:
    """Prediction tables of a model."""
    folder.mkdir(parents=True)
    predictions["test"].to_parquet(folder / "predictions.parquet", index=False)
    predictions["validation"].to_parquet(folder / "validation.parquet", index=False)


def _differences(
    task: Task,
    predictions: dict[str, Predictions],
    card: Card,
    candidates: list[str],
    evaluation: Evaluation,
    seed: int,
) -> dict[str, Any]:
    """Paired differences of the score between the candidates, and of every candidate from every baseline and guess."""
    baselines = [name for name in predictions if name not in candidates]
    pairs = [*combinations(candidates, 2), *((name, baseline) for name in candidates for baseline in baselines)]
    drawing: dict[str, Any] = {"block": task.block(card), "resamples": evaluation.resamples, "seed": seed}
    scores = {name: _scores(task, estimate["test"], card, drawing) for name, estimate in predictions.items()}
    differences = {}
    for first, second in pairs:
        estimate = paired_difference(
            scores[first], scores[second], dependent=task.dependent, confidence=evaluation.confidence, **drawing
        )
        differences[f"{first} − {second}"] = {"a": first, "b": second, "score": task.score, **asdict(estimate)}
    return differences


def _scores(task: Task, predictions: pd.DataFrame, card: Card, drawing: dict[str, Any]) -> ModelScores:
    """A score an example, or one of all examples together, with the resamples that are the same for all models."""
    scores = task.example_scores(predictions)
    if not task.corpus:
        return scores
    drawn = resampled(lambda weights: task.resampled_metrics(predictions, card, weights), len(scores), **drawing)
    return corpus_score(drawn[task.score], len(scores), dependent=task.dependent, block=drawing["block"])
