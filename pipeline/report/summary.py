"""The report in short, as Markdown for a pull request: what is decided, and what changed since the last commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.escaping import markdown
from pipeline.report import formatting as readable
from pipeline.report.results import Json, Results
from pipeline.report.verdict import about_champion, asked_often, ranking, score_decimals, test_score, verdict


def summary(results: Sequence[Results]) -> str:
    """Returns one section for every experiment."""
    return "\n\n".join("\n".join(_section(entry)) for entry in results) + "\n"


def _section(results: Results) -> Iterator[str]:
    metrics = results.metrics
    yield f"## {markdown(results.name)}: {markdown(verdict(metrics).headline) if metrics else 'no results yet'}"
    yield ""
    if metrics:
        if champion := about_champion(results.registry, metrics):
            yield f"**{markdown(champion)}**"
            yield ""
        yield markdown(" ".join(verdict(metrics).details))
        yield ""
        yield from _decision(results.registry, metrics)
        yield from _table(metrics, results.before)
        yield ""
        yield from _changes(metrics, results.before)
    yield from _warnings(results)


def _decision(registry: Json | None, metrics: Json) -> Iterator[str]:
    decision = (registry or {}).get("decision")
    if decision:
        outcome = "Promoted" if decision.get("promoted") else "Not promoted"
        outcome = outcome if decision.get("kind", "decision") == "decision" else "Set by hand"
        yield f"**{outcome}.** {markdown(decision.get('reason', ''))}"
        yield ""
    if asked := asked_often(registry, metrics):
        yield markdown(asked)
        yield ""


def _table(metrics: Json, before: Json | None) -> Iterator[str]:
    """Lists all models, with the test scores of the last commit next to those of now."""
    decimals, score = score_decimals(metrics), readable.words(metrics["score"])
    compared = before if before and before["score"] == metrics["score"] else None
    heads = ["model", f"{markdown(score)} on test", f"{readable.percent(metrics['confidence'])} interval"]
    heads += ["before", "change"] if compared else []
    yield _row([*heads, "on validation"])
    yield _row(["---", *["---:"] * len(heads)])
    for name in ranking(metrics):
        now = test_score(metrics, name)
        cells = [_model(metrics, name), readable.plain(now.get("value"), decimals), _interval(now, decimals)]
        if compared:
            then = test_score(compared, name).get("value")
            both = readable.is_number(then) and readable.is_number(now.get("value"))
            change = readable.signed(now["value"] - then, decimals) if both else "new"
            cells += [readable.plain(then, decimals), change]
        validation = metrics["models"][name].get("validation", {}).get(metrics["score"])
        yield _row([*cells, readable.plain(validation, decimals)])


def _changes(metrics: Json, before: Json | None) -> Iterator[str]:
    """Lists what a reviewer has to know before comparing the columns."""
    if before is None:
        yield "There are no committed results to compare with."
        yield ""
        return
    lines = []
    if before.get("test_digest") != metrics.get("test_digest"):
        lines.append("The test data changed: the columns before and now are of different examples.")
    if before["score"] != metrics["score"]:
        lines.append(f"The score changed from {before['score']} to {metrics['score']}.")
    if before["challenger"] != metrics["challenger"]:
        lines.append(f"The challenger was {before['challenger']} and is {metrics['challenger']} now.")
    gone = [name for name in before["models"] if name not in metrics["models"]]
    if gone:
        lines.append(f"No longer compared: {readable.enumerated(gone)}.")
    if before == metrics:
        lines.append("Nothing changed since the last commit.")
    yield from map(markdown, lines)
    if lines:
        yield ""


def _warnings(results: Results) -> Iterator[str]:
    lines = list(results.notes)
    lines += [f"Not yet in MLflow: {item}" for item in (results.registry or {}).get("pending") or []]
    lines += [f"Data: {warning}" for warning in (results.card or {}).get("warnings", [])]
    if lines:
        yield "Before you rely on this:"
        yield ""
        yield from (f"- {markdown(line)}" for line in lines)


def _model(metrics: Json, name: str) -> str:
    entry = metrics["models"][name]
    kind = [readable.words(str(entry.get("family"))), str(entry.get("architecture"))]
    aside = ", ".join(kind) if entry["kind"] == "candidate" else entry["kind"]
    written = markdown(name)
    return f"{'**' + written + '**' if name == metrics['challenger'] else written} ({markdown(aside)})"


def _interval(score: Json, decimals: int) -> str:
    if not (readable.is_number(score.get("low")) and readable.is_number(score.get("high"))):
        return readable.ABSENT
    return f"{readable.plain(score['low'], decimals)} to {readable.plain(score['high'], decimals)}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
