"""Does one method beat another? `python run.py compare a=ID b=ID`: numbers of both, and a verdict in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.comparison import Row, compared, configuration, rows_of
from benchmarks.query_scores import SAMPLED
from benchmarks.records import RunFolder, RunStore
from benchmarks.run_states import DAMAGED, judge
from benchmarks.selection import marked
from benchmarks.statistics import CONFIDENCE, Comparison, Estimate, estimate, holm
from datasets.errors import DataError, UsageError, did_you_mean

from .comparability import shared_protocols, warnings
from .console import percent

SIGNIFICANT = 1 - CONFIDENCE
SIZES = ((0.8, "large"), (0.5, "medium"), (0.2, "small"), (0.0, "very small"))
"""What Cohen calls effects."""


def compare_runs(values: Mapping[str, Any]) -> Iterator[str]:
    """Lines: who is compared, what must be kept in mind, and each protocol's numbers and verdict.

    Raises UsageError where `a` and `b` do not name two configurations, DataError where they cannot be compared.
    """
    metric = str(values.get("metric", SAMPLED[0]))
    if metric not in SAMPLED:
        raise UsageError(f"Unknown metric={metric}.{did_you_mean(metric, SAMPLED)} Known: {', '.join(SAMPLED)}.")
    a, b = _sides(values)
    protocols = shared_protocols(a, b)
    yield from (_introduced(letter, row) for letter, row in (("A", a), ("B", b)))
    yield from (f"Keep in mind: {sentence}" for sentence in warnings(a, b, protocols))
    found = [compared(a, b, protocol, metric) for protocol in protocols]
    corrected = holm([comparison.p for comparison in found])
    for protocol, comparison, p in zip(protocols, found, corrected, strict=True):
        yield ""
        yield from _protocol_lines(a, b, protocol, metric, comparison, p, len(protocols))


# --- who ---


def _sides(values: Mapping[str, Any]) -> tuple[Row, Row]:
    """The rows that `a` and `b` name, under names that tell them apart."""
    store = RunStore.of(values)
    missing = [side for side in ("a", "b") if side not in values]
    if missing:
        raise UsageError(f"Say what to compare: {missing[0]}=ID is missing. `python run.py list runs` shows the ids.")
    chosen = {side: _chosen(store, side, str(values[side])) for side in ("a", "b")}
    everything = {run.path.resolve(): run for runs in chosen.values() for run in runs}
    rows = rows_of(list(everything.values()))
    a, b = (_row(rows, side, chosen[side]) for side in ("a", "b"))
    if a == b:
        raise UsageError(f"a and b are the same configuration, {configuration(chosen['a'][0])}: name two.")
    if a.dataset != b.dataset:
        raise DataError(f"a is of {a.dataset} and b of {b.dataset}: only methods on one dataset can be compared.")
    return a, b


def _chosen(store: RunStore, side: str, given: str) -> list[RunFolder]:
    """The runs of a comma list; of one id, or of its beginning, all seeds of the configuration."""
    if "," in given:
        return [store.get(name) for name in dict.fromkeys(given.split(",")) if name]
    run = _one_of(store, side, given)
    return [other for other in RunStore(run.path.parent) if configuration(other) == configuration(run)]


def _one_of(store: RunStore, side: str, name: str) -> RunFolder:
    """Raises UsageError where the beginning of an id is that of several configurations."""
    matching = [run for run in store if run.run_id.startswith(name)]
    found = sorted({configuration(run) for run in matching})
    if len(found) > 1 and name not in {run.run_id for run in matching}:
        raise UsageError(f"{side}={name} means {len(found)} configurations: {', '.join(found)}.")
    return matching[0] if len(found) == 1 else store.get(name)


def _row(rows: list[Row], side: str, runs: list[RunFolder]) -> Row:
    """The one of `rows` that `runs` are in. Raises DataError where these are several, or none of them is finished."""
    holding = [row for row in rows if any(run in (*row.runs, *row.unfinished) for run in runs)]
    if len(holding) > 1 and len({configuration(run) for run in runs}) == 1:
        raise DataError(
            f"{side}: the seeds of {configuration(runs[0])} were run on different files "
            f"({', '.join(row.name for row in holding)}): name those of one state, {side}=ID,ID."
        )
    if len(holding) > 1:
        raise UsageError(f"{side} names runs of {len(holding)} configurations: the seeds of one can be taken together.")
    if not holding[0].runs:
        damaged = next((found for run in holding[0].unfinished if (found := judge(run)).state == DAMAGED), None)
        mend = damaged.reason if damaged else "repeat the command that started it."
        raise DataError(f"{side}: no run of {configuration(runs[0])} is done: {mend}")
    return holding[0]


def _introduced(letter: str, row: Row) -> str:
    seeds = ", ".join(run.run_id.rpartition("-s")[2] for run in row.runs)
    selections = ", ".join(marked(selection) for selection in row.selections)
    states = ", ".join(f"{run.run_id} is {_state(run)}" for run in row.unfinished)
    left_out = f"; left out: {states}" if states else ""
    return f"{letter}: {row.name} on {row.dataset}, {_seeds(len(row.runs))} ({seeds}), selection {selections}{left_out}"


def _state(run: RunFolder) -> str:
    found = judge(run)
    if found.state == DAMAGED:
        return f"damaged ({found.reason.rstrip('.')})"
    return {"new": "not started", "running": "not finished"}.get(found.state, found.state)


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


# --- what ---


def _protocol_lines(
    a: Row, b: Row, protocol: str, metric: str, found: Comparison, corrected: float, protocols: int
) -> Iterator[str]:
    _, queries, people = a.sample(protocol, metric).by_person()
    also = f"; {_p(corrected)} with Holm's correction for {protocols} protocols" if protocols > 1 else ""
    lines = [
        *((side, _mean(estimate(row.sample(protocol, metric)))) for side, row in (("A", a), ("B", b))),
        ("A − B", f"{_signed(found.difference)} ({_signed(found.low)} … {_signed(found.high)}), {_p(found.p)}{also}"),
        ("effect", f"{found.effect:+.2f} standard deviations of the people's differences (d_z), {_size(found.effect)}"),
        ("detectable", f"{percent(found.detectable)} and more, in four of five such studies"),
        ("verdict", _verdict(a, b, protocol, metric, found, corrected)),
    ]
    yield f"{protocol} · {metric} of {int(queries.sum())} queries by {len(people)} people"
    yield from (f"  {what:<11} {said}" for what, said in lines)


def _verdict(a: Row, b: Row, protocol: str, metric: str, found: Comparison, corrected: float) -> str:
    if found.p != found.p:
        return f"Nothing can be said under {protocol}: fewer than two people have a query with a match."
    better, worse = (a, b) if found.difference > 0 else (b, a)
    low, high = sorted((abs(found.low), abs(found.high)))
    size = f"+{percent(abs(found.difference))} {metric} ({percent(low)} … {percent(high)})"
    if corrected < SIGNIFICANT:
        return f"{better.name} is better than {worse.name} under {protocol}: {size}, {_p(corrected)}."
    blind = f"one below {percent(found.detectable)} {metric} could not have been seen with these seeds and people"
    if found.p < SIGNIFICANT:
        return f"No difference holds under {protocol} after Holm's correction, {_p(corrected)}; {blind}."
    return f"No difference was found under {protocol}; {blind}."


def _mean(estimated: Estimate) -> str:
    spread = f" ± {percent(estimated.deviation)}" if estimated.seeds > 1 else ""
    interval = f"95 %: {percent(estimated.low)} … {percent(estimated.high)}"
    return f"{percent(estimated.mean)}{spread} (n = {estimated.seeds}; {interval})"


def _signed(score: float) -> str:
    return f"{100 * score:+.1f}" if score == score else "–"


def _p(p: float) -> str:
    """«p = 0.013»; three decimals."""
    if p != p:
        return "p –"
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def _size(effect: float) -> str:
    return next((word for least, word in SIZES if abs(effect) >= least), "–")
