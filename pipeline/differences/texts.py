"""docs/differences.md, the lines of the README and the table of the terminal, all made of the results alone."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from pipeline.escaping import in_one_line, markdown
from pipeline.report import formatting as readable
from pipeline.report import ten_results
from pipeline.report.ten_results import Json, MeasuredDifference, ShownEffect

BEGIN = "<!-- Made by `python -m pipeline differences` from differences/results/; edits are lost. -->"
END = "<!-- End of the differences. -->"
PAGE, OVERVIEW = "docs/differences.md", "docs/differences.svg"
WIDTH = 120  # characters of a line of prose
RULES = (
    "Textbooks name ten differences between convolutional and recurrent networks. Here each of them is an experiment "
    "with the pipeline's own networks, trained from scratch: paired trainings on the same data, in the same order and "
    "with the same budget, seed by seed. The effect is the mean over the seeds of a statistic that is positive where "
    "it speaks for the claim; its intervals are Student's. A claim *holds* where the whole interval of 99.5 % lies "
    "beyond the margin, and *does not hold* where it lies inside of the margin or below zero; it *depends* on a "
    "condition where two conditions are decided and disagree. Everything else is *not decided at this budget*, which "
    "is no evidence against the claim. Claims, statistics, margins and rules were fixed before anything was measured."
)
AGAIN = """## Measure it again

    make differences                                          # what is out of date; then the verdicts and this page
    dvc repro differences/dvc.yaml:difference@memory          # one of them

Settings are in `differences/params.yaml`: change a number, and the next `make differences` measures the differences
that read it and no others. `dvc repro` in the root runs none of them. A difference that is killed continues where it
was; one worker or several write the same bytes.

With `setting: full` in that file there are more seeds and steps. `make differences` then measures all ten once more,
and this table keeps how long each took in either setting and what came out, wherever it ran last without being
interrupted:
"""


def terminal(differences: Sequence[MeasuredDifference]) -> str:
    """Formats a row for each difference, with its main effect."""
    rows = [["", "difference", "verdict", "effect", "99.5 % interval", "margin"], *map(_terminal_row, differences)]
    rows = [[in_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"! {in_one_line(difference.note)}" for difference in differences if difference.note]
    return "\n".join([*lines, *notes, *map(in_one_line, _failed_controls(differences))])


def document(differences: Sequence[MeasuredDifference], seconds: Json) -> str:
    """Composes docs/differences.md. `seconds`: setting → name → how long it took and where."""
    parts = ["# Ten differences, measured", _prose(RULES)]
    parts += [f"![The verdicts and main effects of all ten]({OVERVIEW.removeprefix('docs/')})"]
    parts += ["\n".join(_table(differences))]
    for difference in differences:
        if difference.facts:
            parts += _section(difference)
    parts += [AGAIN + "\n" + "\n".join(_durations(differences, seconds))]
    return f"{BEGIN}\n\n" + "\n\n".join(parts) + "\n"


def readme_lines(differences: Sequence[MeasuredDifference]) -> str:
    """Composes a paragraph and a picture for the README."""
    known = sorted({str(entry.facts["setting"]) for entry in differences if entry.facts.get("setting")})
    setting = f" ({readable.enumerated(known)} setting)" if known else ""
    text = (
        f"Of the ten differences that textbooks name between the families, measured here with paired seeds{setting}: "
    )
    text += "; ".join(markdown(sentence) for sentence in ten_results.in_short(differences))
    text += f". [Each with its figure, intervals and advice]({PAGE}); `{ten_results.COMMAND}` measures them again."
    return f"{_prose(text)}\n\n![Verdicts and main effects of the ten differences]({OVERVIEW})\n"


def with_lines(readme: str, lines: str) -> str:
    """Puts the lines between the two marks of the README. Raises ValueError where not exactly one of each is there."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise ValueError(f"README.md has no place for the differences; put these two lines there: {BEGIN} and {END}")
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{lines}\n{END}{rest.split(END)[1]}"


def _terminal_row(difference: MeasuredDifference) -> list[str]:
    main = next(iter(difference.effects), None)
    effect = [f"{main.value} {main.unit}", main.interval_995, main.margin] if main else [readable.ABSENT] * 3
    return [str(difference.number), difference.title, difference.verdict, *effect]


def _failed_controls(differences: Sequence[MeasuredDifference]) -> Iterator[str]:
    for difference in differences:
        for sentence in ten_results.failed_controls(difference.facts):
            yield f"! {difference.title}: a control has failed: {sentence}"


def _table(differences: Sequence[MeasuredDifference]) -> Iterator[str]:
    yield row(["", "difference", "claim", "verdict", "effect", "95 % interval", "99.5 % interval"])
    yield row(["---:", "---", "---", "---", "---:", "---", "---"])
    for difference in differences:
        main = next(iter(difference.effects), None)
        verdict = difference.verdict + (
            " (a control has failed)" if ten_results.failed_controls(difference.facts) else ""
        )
        cells = [f"{main.value} {main.unit}", main.interval_95, main.interval_995] if main else [readable.ABSENT] * 3
        title, claim = markdown(difference.title), markdown(difference.facts.get("claim") or difference.note)
        yield row([str(difference.number), f"**{title}**", claim, markdown(verdict), *map(markdown, cells)])


def _section(difference: MeasuredDifference) -> list[str]:
    facts = difference.facts
    parts = [f"## {difference.number}. {markdown(difference.title)}: {markdown(difference.verdict)}"]
    parts += [_prose(f"*{markdown(facts.get('claim', ''))}*")]
    if difference.figure:
        path = f"../{ten_results.FOLDER.as_posix()}/{difference.name}.svg"
        parts += [f"![{markdown(difference.title)}]({path})"]
    parts += [_prose(markdown(facts[key])) for key in ("shown",) if facts.get(key)]
    if facts.get("advice"):
        parts += [_prose(f"**What to do with it.** {markdown(facts['advice'])}")]
    if facts.get("needed"):
        parts += [_prose(f"**What a decision needs.** {markdown(facts['needed'])}")]
    failed = ten_results.failed_controls(facts)
    parts += [_prose(f"**A control has failed, do not rely on this verdict.** {markdown(one)}") for one in failed]
    heads = ["effect", "value", "95 %", "99.5 %", "margin", "verdict"]
    parts += ["\n".join(_rows(heads, [_effect_cells(effect) for effect in difference.effects]))]
    for rows in (ten_results.controls(facts), ten_results.arms(facts)):
        if rows:
            parts += ["\n".join(_rows(list(rows[0]), [list(cells.values()) for cells in rows]))]
    return [*parts, _prose(_circumstances(facts))]


def _effect_cells(effect: ShownEffect) -> list[str]:
    value = f"{effect.value} {effect.unit}"
    return [effect.statistic, value, effect.interval_95, effect.interval_995, effect.margin, effect.verdict]


def _circumstances(facts: Json) -> str:
    words = f"{facts.get('scope', '')}; setting {facts.get('setting', '')}: {ten_results.budget(facts)}."
    return markdown(f"{readable.capitalised(words)} Measured on {ten_results.machine(facts)}.")


def _durations(differences: Sequence[MeasuredDifference], seconds: Json) -> Iterator[str]:
    yield row(["difference", "quick", "full"])
    yield row(["---", "---", "---"])
    for difference in differences:
        yield row(
            [markdown(difference.title), *(_duration(seconds, key, difference.name) for key in ("quick", "full"))]
        )
    yield row(["**together**", *(_together(seconds, key, differences) for key in ("quick", "full"))])
    machines = sorted({entry["machine"] for entries in seconds.values() for entry in entries.values()})
    if machines:
        yield ""
        yield _prose(markdown(f"Measured with the workers of params.yaml on {' and on '.join(machines)}."))
    yield from _other_setting(differences, seconds)


def _duration(seconds: Json, setting: str, name: str) -> str:
    entry = seconds.get(setting, {}).get(name, {})
    return ": ".join(
        [readable.duration(entry.get("seconds")), *([markdown(entry["verdict"])] if "verdict" in entry else [])]
    )


def _other_setting(differences: Sequence[MeasuredDifference], seconds: Json) -> Iterator[str]:
    """Yields what came out in a setting that is not the one of this page, difference by difference."""
    for setting, entries in seconds.items():
        elsewhere = [
            one for one in differences if "shown" in entries.get(one.name, {}) and one.facts.get("setting") != setting
        ]
        if elsewhere:
            yield f"\nWhat came out in the setting {setting}:\n"
        for one in elsewhere:
            entry = entries[one.name]
            yield _prose(f"* {markdown(one.title)}, {markdown(entry['verdict'])}: {markdown(entry['shown'])}", "  ")


def _together(seconds: Json, setting: str, differences: Sequence[MeasuredDifference]) -> str:
    known: Mapping[str, Json] = seconds.get(setting, {})
    complete = all(difference.name in known for difference in differences)
    return readable.duration(sum(entry["seconds"] for entry in known.values())) if complete else readable.ABSENT


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield row(heads)
    yield row(["---"] * len(heads))
    yield from (row(list(map(markdown, cells))) for cells in rows)


def row(cells: Sequence[str]) -> str:
    """Joins cells, which are escaped already, to a line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def _prose(text: str, indent: str = "") -> str:
    lines = textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)
