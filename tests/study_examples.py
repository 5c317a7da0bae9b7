"""Studies made up for tests: their trials follow a planted function of the parameters, with the noise of seeds."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from benchmarks.studies import Confirmation, Confirmed, Dimension, Shrinkage, Study, Tested, Trial, Value

HOSTILE = '<script>alert("x")</script> a_b $x^2$ 行人 {y} 100 % & ' + "long " * 60
EPOCHS, SEEDS, FRESH = 20, (0, 1), (2, 3, 4)
WEIGHTS = ("identity", "triplet", "biometric", "non_biometric")
SPACE = (
    *(Dimension(key=f"method.weights.{name}", low=0.05, high=5.0, log=True, default=1.0) for name in WEIGHTS),
    Dimension(key="method.temperature", low=0.05, high=1.0, log=True, default=1.0),
)
DEFAULTS: dict[str, Value] = {dimension.key: dimension.default for dimension in SPACE}
NOISE = 0.01
"""Standard deviation of a seed's score."""


def truth(params: dict[str, Value]) -> float:
    """mAP without chance: the best triplet weight is 2, the best temperature 0.3, the others matter less."""
    at = {key.rpartition(".")[2]: math.log(float(value or 1)) for key, value in params.items()}
    off = (
        0.018 * (at["triplet"] - math.log(2)) ** 2
        + 0.012 * (at["temperature"] - math.log(0.3)) ** 2
        + 0.004 * (at["biometric"] - math.log(0.7)) ** 2
        + 0.002 * at["identity"] ** 2
        + 0.0005 * at["non_biometric"] ** 2
    )
    return 0.395 - off


def score(params: dict[str, Value], seed: int) -> float:
    chance = np.random.default_rng([seed, *(int(1e6 * float(value or 0)) for value in params.values())])
    return truth(params) + float(chance.normal(0, NOISE))


def learnt(step: int) -> float:
    """Share of the final score after some epochs."""
    return (1 - math.exp(-4 * step / EPOCHS)) / (1 - math.exp(-4))


def course_until(params: dict[str, Value], last: int) -> dict[int, float]:
    """Mean of the finished seeds' scores and of this seed's so far, epoch by epoch, seed by seed."""
    course, done = {}, []
    for number, seed in enumerate(SEEDS):
        final = score(params, seed)
        for epoch in range(1, EPOCHS + 1):
            step = number * EPOCHS + epoch
            if step > last:
                return course
            course[step] = float(np.mean([*done, final * learnt(epoch)]))
        done.append(final)
    return course


def drawn(number: int, best: dict[str, Value]) -> dict[str, Value]:
    """Parameters of a trial: anywhere at first, later near the best so far."""
    chance = np.random.default_rng(number)
    params: dict[str, Value] = {}
    for dimension in SPACE:
        low, high = math.log(dimension.low or 1), math.log(dimension.high or 1)
        anywhere = chance.uniform(low, high)
        near = math.log(float(best[dimension.key] or 1)) + chance.normal(0, 0.25 * (high - low) / 2)
        params[dimension.key] = round(math.exp(min(max(near if number > 10 else anywhere, low), high)), 6)
    return params


def differ_on_ltcc(budget: int = 40, *, name: str = "ltcc-differ-weights", confirmed: bool = True) -> Study:
    """DIFFER's four weights and temperature: 40 trials of two seeds, some pruned, two failed, one lost."""
    trials: list[Trial] = []
    best, best_value = DEFAULTS, -1.0
    for number in range(budget):
        params = DEFAULTS if number == 0 else drawn(number, best)
        trial = Trial(number=number, state="complete", params=params, is_default=number == 0, seconds=1500.0 + number)
        runs = tuple(f"ltcc-differ-{number:08x}-s{seed}" for seed in SEEDS)
        if number in (9, 27):
            reason = "The loss turned NaN in epoch 3." if number == 9 else "The GPU ran out of memory."
            trials.append(trial.model_copy(update={"state": "failed", "reason": reason, "runs": runs[:1]}))
            continue
        if number == 18:
            trials.append(trial.model_copy(update={"state": "lost", "reason": "its worker died"}))
            continue
        if number == 19:
            params = trials[-1].params
            trial = trial.model_copy(update={"params": params, "replaces": 18})
        final = {seed: (score(params, seed),) for seed in SEEDS}
        mean = float(np.mean([value for (value,) in final.values()]))
        if number > 5 and mean < 0.362:
            last = 6 + number % 5 if mean < 0.35 else EPOCHS + 8
            done = {SEEDS[0]: final[SEEDS[0]]} if last > EPOCHS else {}
            cut = {"state": "pruned", "by_seed": done, "course": course_until(params, last), "runs": runs}
            trials.append(trial.model_copy(update=cut | {"reason": f"below the median of the others in epoch {last}"}))
            continue
        course = course_until(params, EPOCHS * len(SEEDS))
        whole = {"values": (mean,), "by_seed": final, "course": course, "runs": runs}
        trials.append(trial.model_copy(update=whole))
        if mean > best_value:
            best, best_value = params, mean
    study = study_of(trials, SPACE, name=name, budget=budget)
    return study.model_copy(update={"confirmation": confirmation_of(study)}) if confirmed else study


def study_of(trials: Iterable[Trial], space: tuple[Dimension, ...], **more: object) -> Study:
    importance = {
        "method.weights.triplet": 0.47,
        "method.temperature": 0.31,
        "method.weights.biometric": 0.14,
        "method.weights.identity": 0.06,
        "method.weights.non_biometric": 0.02,
    }
    facts: dict[str, object] = {
        "name": "a-study",
        "method": "differ",
        "dataset": "ltcc",
        "base": "method=differ dataset=ltcc train.epochs=20",
        "objectives": ("cloth-changing mAP",),
        "minimised": (False,),
        "protocol": "cloth-changing: of the query's person it ignores images of the same camera or the same clothes",
        "seeds": SEEDS,
        "epochs": EPOCHS,
        "sampler": "tpe",
        "pruner": "median",
        "first_pruned_epoch": 5,
        "budget": 40,
        "importance": {one.key: importance[one.key] for one in space if one.key in importance},
    }
    return Study.model_validate({**facts, **more, "space": space, "trials": tuple(trials)})


def confirmation_of(study: Study, best: int = 3) -> Confirmation:
    """The best trials and the defaults on fresh seeds; one seed of the third gives no score."""
    complete = sorted((one for one in study.trials if one.state == "complete"), key=lambda one: -one.values[0])
    rows = []
    for place, trial in enumerate([*complete[:best], study.trials[0]]):
        name = "defaults" if trial.is_default else f"trial {trial.number}"
        if name in [row.name for row in rows]:
            continue
        by_seed = {seed: score(trial.params, seed) for seed in FRESH}
        failures: tuple[str, ...] = ()
        if place == 2:
            del by_seed[FRESH[-1]]
            failures = (f"seed {FRESH[-1]}: The GPU ran out of memory.",)
        rows.append(
            Confirmed(
                name=name,
                trial=trial.number,
                params=trial.params,
                tuned=trial.values[0],
                by_seed=by_seed,
                runs=tuple(f"ltcc-differ-{trial.number:08x}-s{seed}" for seed in by_seed),
                failures=failures,
            )
        )
    means = {row.name: row.mean or 0.0 for row in rows}
    half = 2.3 * NOISE / math.sqrt(len(FRESH))
    shrinkage = {
        row.name: Shrinkage(
            mean=(row.tuned or 0) - means[row.name],
            low=(row.tuned or 0) - means[row.name] - half,
            high=(row.tuned or 0) - means[row.name] + half,
        )
        for row in rows
    }
    shared: dict[str, Any] = {"chosen": 0.242, "defaults": 0.211, "difference": 0.031, "detectable": 0.034}
    tested = (
        Tested(protocol="cloth-changing", metric="mAP", low=0.004, high=0.058, p=0.021, p_holm=0.042, **shared),
        Tested(protocol="standard", metric="mAP", low=-0.012, high=0.074, p=0.13, p_holm=0.13, **shared),
    )
    chosen = max(means, key=lambda name: means[name])
    return Confirmation(seeds=FRESH, rows=tuple(rows), chosen=chosen, shrinkage=shrinkage, tested=tested)


def two_objectives() -> Study:
    """Accuracy against the seconds of training, which grow with the weights."""
    single = differ_on_ltcc(confirmed=False)

    def both(trial: Trial) -> Trial:
        """Nothing is pruned where there are several objectives, and no epoch reported."""
        if trial.state not in ("complete", "pruned"):
            return trial.model_copy(update={"course": {}})
        cost = 900.0 + 600 * sum(float(trial.params[f"method.weights.{name}"] or 0) ** 0.5 for name in WEIGHTS[1:3])
        value = float(np.mean([score(trial.params, seed) for seed in SEEDS]))
        return trial.model_copy(update={"state": "complete", "values": (value, cost), "course": {}, "reason": ""})

    trials = tuple(map(both, single.trials))
    complete = [trial for trial in trials if trial.state == "complete"]
    front = [
        one.number
        for one in complete
        if not any(other.values[0] > one.values[0] and other.values[1] < one.values[1] for other in complete)
    ]
    more = {"objectives": ("cloth-changing mAP", "seconds"), "minimised": (False, True), "pareto": tuple(front)}
    return single.model_copy(update={"name": "mAP-against-cost", "trials": trials, "pruner": "none", **more})


def choices() -> Study:
    """Words, switches and whole numbers among the searched keys; seconds are not looked at."""
    space = (
        Dimension(key="method.backbone", choices=("resnet50", "vit_small", "eva02_large"), default="resnet50"),
        Dimension(key="method.reversal", choices=(True, False), default=True),
        Dimension(key="optimiser.lr", low=1e-5, high=1e-3, log=True, default=3e-4),
        Dimension(key="sampler.images_per_person", low=2, high=8, step=2, whole=True, default=4),
    )

    def params_of(number: int) -> dict[str, Value]:
        chance = np.random.default_rng([7, number])
        if number == 0:
            return {one.key: one.default for one in space}
        return {
            "method.backbone": ("resnet50", "vit_small", "eva02_large")[int(chance.integers(3))],
            "method.reversal": bool(chance.integers(2)),
            "optimiser.lr": float(10 ** chance.uniform(-5, -3)),
            "sampler.images_per_person": int(2 * chance.integers(1, 5)),
        }

    def value_of(params: dict[str, Value]) -> float:
        rate = math.log10(float(params["optimiser.lr"] or 1)) + 3.6
        size = {"resnet50": 0, "vit_small": 0.02, "eva02_large": 0.05}[str(params["method.backbone"])]
        return 0.3 + size + 0.01 * bool(params["method.reversal"]) - 0.03 * rate**2

    trials = [
        Trial(number=number, state="complete", params=params, values=(value_of(params),), is_default=number == 0)
        for number in range(24)
        for params in [params_of(number)]
    ]
    importance = {"optimiser.lr": 0.5, "method.backbone": 0.4, "sampler.images_per_person": 0.1, "method.reversal": 0.0}
    return study_of(trials, space, name="choices", budget=24, importance=importance)


def many_keys(keys: int = 12, budget: int = 300, key: Callable[[int], str] = "method.weights.term_{}".format) -> Study:
    """300 trials of 12 keys, none of which has a confirmation."""
    space = tuple(
        Dimension(key=key(place), low=0.01 if place % 2 else 0.0, high=1.0, log=bool(place % 2), default=0.8)
        for place in range(keys)
    )
    trials = []
    for number in range(budget):
        chance = np.random.default_rng([3, number])
        params: dict[str, Value] = {
            one.key: 0.8 if number == 0 else float(10 ** chance.uniform(-2, 0) if one.log else chance.uniform(0, 1))
            for one in space
        }
        value = (
            0.3 - 0.05 * sum((float(params[one.key] or 0) - 0.4) ** 2 for one in space[:3]) + chance.normal(0, 0.004)
        )
        values = {"values": (float(value),), "is_default": number == 0}
        trials.append(Trial(number=number, state="complete", params=params, **values))
    importance = {one.key: 2.0 ** -(place + 1) for place, one in enumerate(space)}
    return study_of(trials, space, name="many-keys", budget=budget, importance=importance)


def hostile() -> Study:
    """Names of markup, mathematics, other scripts and 300 characters."""
    study = many_keys(3, 30, lambda place: f"method.{place} {HOSTILE}")
    named = {"name": HOSTILE, "method": HOSTILE, "dataset": HOSTILE, "protocol": HOSTILE, "base": HOSTILE}
    failed = Trial(number=30, state="failed", params=study.trials[1].params, reason=HOSTILE)
    return study.model_copy(
        update={**named, "objectives": (HOSTILE,), "trials": (*study.trials, failed), "sampler": HOSTILE}
    )


def one_trial() -> Study:
    study = differ_on_ltcc(1, name="one-trial", confirmed=False)
    return study.model_copy(update={"importance": {}})


def all_failed() -> Study:
    study = differ_on_ltcc(7, name="all-failed", confirmed=False)
    lost = {"state": "failed", "values": (), "by_seed": {}, "course": {}, "reason": "The loss turned NaN in epoch 1."}
    trials = tuple(trial.model_copy(update=lost) for trial in study.trials)
    return study.model_copy(update={"importance": {}, "trials": trials})


def not_begun() -> Study:
    return study_of((), SPACE, name="not-begun", importance={})


def every_study() -> dict[str, Study]:
    makers = (differ_on_ltcc, two_objectives, choices, many_keys, hostile, one_trial, all_failed, not_begun)
    return {maker.__name__: maker() for maker in makers}
