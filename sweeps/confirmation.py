"""Confirmation: the best trials and the configuration without a sweep, run again on seeds that the sweep never saw.

The best of many noisy values flatters: it was chosen for its luck, too. So the k best are trained with fresh seeds, and
the one that is best *there* is chosen, still on held-out training identities. How much of a tuned value was luck is its
shrinkage, tuned - confirmed, with Student's t interval; the scatter of the fresh seeds is pooled over all of them.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from scipy.special import stdtrit

from benchmarks.comparison import METRICS, Row, compared
from benchmarks.records import RunFolder
from benchmarks.statistics import CONFIDENCE, holm
from benchmarks.studies import Confirmation, Confirmed, Shrinkage, Tested, Value

from .plan import SweepPlan
from .study import IS_DEFAULT

DEFAULTS = "defaults"
Score = tuple[str, float | None, str]
"""Run id, the first objective, and why there is none."""
MeasureAll = Callable[[Sequence[tuple[Mapping[str, Value], int]]], Sequence[Score]]
"""Trains and validates several (parameters, seed), side by side where there is room."""


def candidates(plan: SweepPlan, study: optuna.Study) -> list[Confirmed]:
    """The k best trials by the first objective, and the configuration without a sweep, without scores as yet."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ranked: list[FrozenTrial] = sorted(complete, key=lambda trial: (-trial.values[0], trial.number))
    default = next((trial for trial in ranked if trial.user_attrs.get(IS_DEFAULT)), None)
    different = list({str(trial.params): trial for trial in reversed(ranked) if trial is not default}.values())[::-1]
    rows = [_row(f"trial {trial.number}", trial) for trial in different[: plan.confirm]]
    if default is not None:
        return [*rows, _row(DEFAULTS, default)]
    defaults = {dimension.key: dimension.default for dimension in plan.space}
    return [*rows, Confirmed(name=DEFAULTS, trial=None, params=defaults, tuned=None, by_seed={}, runs=())]


def _row(name: str, trial: FrozenTrial) -> Confirmed:
    return Confirmed(name=name, trial=trial.number, params=trial.params, tuned=trial.values[0], by_seed={}, runs=())


def confirm(plan: SweepPlan, study: optuna.Study, measure: MeasureAll) -> Confirmation | None:
    """Run the candidates on the fresh seeds and choose; None where there is nothing to confirm, or no run succeeded."""
    rows = candidates(plan, study)
    if not plan.confirm or len(rows) < 2:
        return None
    asked = [(row, seed) for row in rows for seed in plan.confirm_seeds]
    scores = measure([(row.params, seed) for row, seed in asked])
    found = [
        _scored(row, [(seed, score) for (of, seed), score in zip(asked, scores, strict=True) if of is row])
        for row in rows
    ]
    scored = [row for row in found if row.mean is not None]
    if not scored:
        return None
    sign = -1 if plan.objectives[0].minimise else 1
    chosen = max(scored, key=lambda row: sign * (row.mean or 0.0))
    return Confirmation(seeds=plan.confirm_seeds, rows=tuple(found), chosen=chosen.name, shrinkage=shrinkages(scored))


def _scored(row: Confirmed, scores: Sequence[tuple[int, Score]]) -> Confirmed:
    return row.model_copy(
        update={
            "by_seed": {seed: score for seed, (_, score, _) in scores if score is not None},
            "runs": tuple(run_id for _, (run_id, _, _) in scores),
            "failures": tuple(f"seed {seed}: {reason}" for seed, (_, score, reason) in scores if score is None),
        }
    )


def on_the_test_split(chosen: Sequence[RunFolder], defaults: Sequence[RunFolder]) -> tuple[Tested, ...]:
    """The finished runs of two configurations compared, paired by person, under every protocol that both have.

    Raises DataError where their evidence is damaged or was asked different queries.
    """
    name = chosen[0].spec()["dataset"]["name"]
    a, b = Row("chosen", name, tuple(chosen)), Row(DEFAULTS, name, tuple(defaults))
    cells = [(protocol, metric) for protocol in a.protocols() if protocol in b.protocols() for metric in METRICS]
    found = [compared(a, b, protocol, metric) for protocol, metric in cells]
    return tuple(
        Tested(
            protocol=protocol,
            metric=metric,
            chosen=float(a.sample(protocol, metric).of_seeds.mean()),
            defaults=float(b.sample(protocol, metric).of_seeds.mean()),
            difference=one.difference,
            low=one.low,
            high=one.high,
            p=one.p,
            p_holm=corrected,
            detectable=one.detectable,
        )
        for (protocol, metric), one, corrected in zip(cells, found, holm([one.p for one in found]), strict=True)
    )


def shrinkages(rows: Sequence[Confirmed]) -> dict[str, Shrinkage]:
    """Name → tuned - mean over the fresh seeds, for rows that have both.

    The interval is about the tuned value minus what the configuration is worth: ± t · s / √n, s² being the variance of
    the fresh seeds within the rows, pooled over all rows (analysis of variance, one way), with its degrees of freedom.
    """
    groups = [np.array(list(row.by_seed.values())) for row in rows]
    freedom = sum(len(group) - 1 for group in groups)
    squares = float(sum(((group - group.mean()) ** 2).sum() for group in groups))
    found = {}
    for row, group in zip(rows, groups, strict=True):
        if row.tuned is None or row.mean is None:
            continue
        mean = row.tuned - row.mean
        if freedom:
            half = float(stdtrit(freedom, CONFIDENCE / 2 + 0.5)) * float(np.sqrt(squares / freedom / len(group)))
            found[row.name] = Shrinkage(mean=mean, low=mean - half, high=mean + half)
        else:
            found[row.name] = Shrinkage(mean=mean, low=None, high=None)
    return found
