"""What a caption says: dataset, protocols, how the epoch was chosen, how many seeds, what failed, whence intervals."""

from collections import Counter
from collections.abc import Iterable, Sequence

from benchmarks.comparison import Row
from benchmarks.run_states import judge
from benchmarks.selection import LAST, ORACLE, VALIDATION, marked
from benchmarks.statistics import CONFIDENCE, POWER

from .measured import SIGNIFICANT, Measured

INTERVALS = (
    f"Intervals hold the true value in {100 * CONFIDENCE:.0f} % of such studies, over identities and seeds (jackknife "
    "over identities, variance between seeds, Student's t); differences are paired by identity, and p is corrected "
    f"for the number of rows (Holm); * p < {SIGNIFICANT:g}. Detectable: the smallest difference that would have been "
    f"found in {100 * POWER:.0f} % of them."
)
NOT_RETUNED = "Every row keeps the full model's hyper-parameters: none is re-tuned."
RULES = {
    LAST: "the last epoch",
    VALIDATION: "the best epoch on held-out training identities",
    ORACLE: "the best epoch on the test set, which flatters",
}

FLATTERED = (
    f"{marked(ORACLE)} is shown, but neither called the highest nor the reference of differences: its epoch was chosen "
    "on the test set."
)


def protocols_text(protocols: Iterable[str]) -> str:
    names = list(protocols)
    return f"Protocol{'s' if len(names) > 1 else ''}: {', '.join(names)}."


def selection_text(selections: Iterable[Sequence[str]]) -> str:
    """The rules that occur, and what they mean."""
    rules = dict.fromkeys(rule for of_row in selections for rule in of_row)
    if not rules:
        return "No run is finished."
    said = "; ".join(f"{marked(rule)} ({RULES[rule]})" if rule in RULES else marked(rule) for rule in rules)
    return f"Selection: {said}."


def seeds_text(rows: Iterable[Row]) -> str:
    """How many seeds, which is one number where all rows have as many."""
    counts = [len(row.runs) for row in rows if row.runs]
    if not counts:
        return ""
    fewest, most = min(counts), max(counts)
    number = f"{fewest} to {most} seeds a row" if fewest != most else f"{most} seed{'s' if most > 1 else ''} a row"
    single = " A row of one seed has no ±, and its interval is over identities alone." if fewest == 1 else ""
    return f"Scores in percent, mean ± standard deviation over seeds; {number}.{single}"


def unfinished_text(measured: Measured) -> list[str]:
    """«baseline: 1 of 3 seeds failed.» for each row of which a run is not finished."""
    found = []
    for row, name in zip(measured.rows, measured.names, strict=True):
        states = Counter(judge(run).state for run in row.unfinished)
        if states:
            total = len(row.runs) + len(row.unfinished)
            of = f"of {total} seed{'s' if total > 1 else ''}"
            said = ", ".join(f"{count} {of} {_in_words(state)}" for state, count in sorted(states.items()))
            found.append(f"{name}: {said}.")
    return found


def _in_words(state: str) -> str:
    return {"new": "not started", "running": "still running"}.get(state, state)


def ablations_text(measured: Measured) -> str:
    changed = any(place is not None and not place.is_full for place in measured.places)
    return "Ablations keep the full model's hyper-parameters: they are not re-tuned." if changed else ""


def remarks(measured: Measured) -> tuple[str, ...]:
    """What must not be overlooked. To be asked after the comparisons were made."""
    unfinished = unfinished_text(measured)
    counted = [f"Counted, not hidden: {' '.join(unfinished)}"] if unfinished else []
    return (*[FLATTERED] * measured.mixed, *counted, *measured.unpaired())


def caption(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def tuning_text(trials: int) -> str:
    """Of an ablation: whether its rows were tuned anew, with `trials` configurations each."""
    if not trials:
        return NOT_RETUNED
    return (
        f"Every row is re-tuned: the best of {trials} trials over the tunables that it does not set, on held-out "
        "training identities and a seed that is not reported."
    )
