"""What the words of a `sweep` command ask for."""

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.resolve import Resolved, resolve
from benchmarks.spec import Session, to_plain
from benchmarks.studies import Dimension, Value
from benchmarks.words import NAMES, product, read_value
from datasets.errors import UsageError, did_you_mean
from methods import METHODS

from . import slurm
from .objectives import Objective, read_objectives
from .space import PREFIX, build_space, check_ends, grid_size, read_space
from .storage import STORAGE_VARIABLE

OWN = {
    "trials": "50",
    "workers": "1",
    "seed": "0,1",
    "objective": "",
    "sampler": "tpe",
    "sampler_seed": "0",
    "pruner": "median",
    "prune_from": "",
    "confirm": "3",
    "confirm_seeds": "3",
    "study": "",
    "storage": "",
    "grace": "60",
    "space": "",
    "join": "false",
    "launcher": "",
    "wait": "true",
    "config": "",
    "ablation": "",
}
"""Keys of the verb and what they are when not given; all others belong to the runs."""
SAMPLERS = ("tpe", "gp", "qmc", "random", "grid")
PRUNERS = ("median", "none")


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, ready to be carried out."""

    values: Mapping[str, Any]
    """Words of every run, without its seed."""
    config: Path | None
    ablation: str | None
    base: Resolved
    """The configuration without a sweep, with the first seed."""
    space: tuple[Dimension, ...]
    objectives: tuple[Objective, ...]
    seeds: tuple[int, ...]
    trials: int
    workers: int
    sampler: str
    sampler_seed: int
    pruner: str
    first_pruned_epoch: int
    confirm: int
    """How many of the best trials are run again."""
    confirm_seeds: tuple[int, ...]
    """Fresh ones."""
    name: str
    storage: str | None
    """URL of a database; None: a journal in the folder of runs."""
    grace: int
    command: str
    """Words after `sweep` that go on with it, without those that say where things are."""
    join: bool
    """Only work on trials of a study that another command began and will finish."""
    slurm: slurm.SlurmOptions | None
    """Submit the workers to a cluster."""
    wait: bool
    """For them."""

    def configuration(self, params: Mapping[str, Value], seed: int, *, test: bool = False) -> Resolved:
        """What a run of these parameters is. Raises UsageError where they do not go together."""
        words = {**self.values, **params, "seed": seed, "test": test}
        return resolve(words, self.config, self.ablation)

    @property
    def definition(self) -> dict[str, Any]:
        """What a study must not change while it goes on."""
        spec = to_plain(self.base.spec) | {"seed": None}
        return json.loads(
            json.dumps(
                {
                    "spec": spec,
                    "space": [dimension.model_dump(mode="json") for dimension in self.space],
                    "seeds": self.seeds,
                    "objectives": [objective.name for objective in self.objectives],
                    "sampler": [self.sampler, self.sampler_seed],
                    "pruner": [self.pruner, self.first_pruned_epoch],
                }
            )
        )

    @property
    def words(self) -> str:
        """The words that make the configuration, without those that say where things are."""
        own = {"config": self.config, "ablation": self.ablation}
        given = {**{key: value for key, value in own.items() if value}, **self.values}
        given = {key: value for key, value in given.items() if key not in Session.model_fields}
        return " ".join(shlex.quote(f"{key}={as_typed(value)}") for key, value in given.items())


NOT_REPEATED = frozenset({"storage", "join", "launcher", "wait", "workers", *Session.model_fields})
"""Words that say where and how, not what."""


def _command(values: Mapping[str, str]) -> str:
    short = {full: name for name, full in NAMES.items()}
    kept = {key: word for key, word in values.items() if key not in NOT_REPEATED and not key.startswith(slurm.PREFIX)}
    return " ".join(shlex.quote(f"{short.get(key, key)}={word}") for key, word in kept.items())


def as_typed(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(as_typed, value)) + "]"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def read_plan(values: Mapping[str, str]) -> SweepPlan:
    """Raises UsageError for words that are unknown, contradict each other, or ask for what cannot be."""
    own = {key: values.get(key, usual) for key, usual in OWN.items()}
    of_runs = _of_runs(values)
    seeds = _seeds(own["seed"])
    config, ablation = Path(own["config"]) if own["config"] else None, own["ablation"] or None
    base = resolve({**of_runs, "seed": seeds[0], "test": False}, config, ablation)
    if not base.spec.train.epochs:
        raise UsageError(
            f"method={base.spec.method.name} with train.epochs=0 trains nothing: there is nothing to tune."
        )
    if base.spec.select.rule not in ("auto", "validation"):
        raise UsageError(
            f"select.rule={base.spec.select.rule}: a sweep chooses by identities held out of the training split, "
            "leave select.rule out (the confirmed configurations can be run under another rule afterwards)."
        )
    space = build_space(base, read_space(own["space"] or None, values))
    objectives = read_objectives(own["objective"], base)
    pruner = _one_of("pruner", own["pruner"], PRUNERS)
    plan = SweepPlan(
        values=of_runs,
        config=config,
        ablation=ablation,
        base=base,
        space=space,
        objectives=objectives,
        seeds=seeds,
        trials=_budget(values, own["trials"], own["sampler"], space),
        workers=_whole("workers", own["workers"], 1),
        sampler=_one_of("sampler", own["sampler"], SAMPLERS),
        sampler_seed=_whole("sampler_seed", own["sampler_seed"], 0),
        pruner="none" if len(objectives) > 1 else pruner,
        first_pruned_epoch=_first_pruned_epoch(base, own["prune_from"]),
        confirm=_whole("confirm", own["confirm"], 0),
        confirm_seeds=tuple(range(max(seeds) + 1, max(seeds) + 1 + _whole("confirm_seeds", own["confirm_seeds"], 2))),
        name="",
        storage=own["storage"] or os.environ.get(STORAGE_VARIABLE) or None,
        grace=_whole("grace", own["grace"], 2),
        command=_command(values),
        join=_one_of("join", own["join"], ("false", "true")) == "true",
        slurm=slurm.read_slurm(values, own["launcher"]),
        wait=_one_of("wait", own["wait"], ("false", "true")) == "true",
    )
    check_ends(base, space, lambda params: plan.configuration(params, seeds[0]))
    return SweepPlan(**{**vars(plan), "name": _name(own["study"], plan)})


def _of_runs(values: Mapping[str, str]) -> dict[str, Any]:
    """The words that every run gets. Raises UsageError for a list, since a study is of one configuration."""
    found = {key: word for key, word in values.items() if key not in OWN and not key.startswith((PREFIX, slurm.PREFIX))}
    for key in ("dry", "print", "jobs"):
        if key in found:
            raise UsageError(
                f"{key}={found[key]} is not for a sweep: trials=N says how much, workers=N how many at once."
            )
    for key in ("test", "wandb"):
        if key in found:
            raise UsageError(
                f"{key}={found[key]} is not for a sweep: its trials leave the test split closed and go to "
                "W&B afterwards, with `python run.py wandb`."
            )
    for key in ("method.name", "dataset.name"):
        if "," in found.get(key, ""):
            raise UsageError(
                f"{key.removesuffix('.name')}={found[key]}: a study is of one, repeat the command for each."
            )
    for key in found:
        if "." not in key and key not in Session.model_fields and (hint := did_you_mean(key, OWN)):
            raise UsageError(f"Unknown key {key}.{hint}")
    return {key: read_value(key, word) for key, word in found.items()}


def _name(given: str, plan: SweepPlan) -> str:
    spec = plan.base.spec
    if not given:
        digest = hashlib.sha256(json.dumps(plan.definition, sort_keys=True).encode()).hexdigest()[:8]
        return f"{spec.dataset.name}-{spec.method.name}-{digest}"
    if not all(letter.isalnum() or letter in "-_." for letter in given) or given.startswith(".") or len(given) > 100:
        raise UsageError(f"study={given}: a name has letters, digits, hyphens, dots and underscores, 100 at most.")
    return given


def _seeds(word: str) -> tuple[int, ...]:
    parts = [str(one["seed"]) for one in product({"seed": word.strip("[]")})]
    if not all(part.strip().isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise UsageError(f"seed={word}: write whole numbers, each once, such as seed=0,1 or seed=0..4.")
    return tuple(map(int, parts))


def _whole(key: str, word: str, least: int) -> int:
    if not word.isdecimal() or int(word) < least:
        raise UsageError(f"{key}={word}: write a whole number, at least {least}.")
    return int(word)


def _one_of(key: str, word: str, known: Sequence[str]) -> str:
    if word not in known:
        raise UsageError(f"Unknown {key}={word}.{did_you_mean(word, known)} Available: {', '.join(known)}.")
    return word


def _budget(values: Mapping[str, str], trials: str, sampler: str, space: Sequence[Dimension]) -> int:
    number = _whole("trials", trials, 1)
    if sampler != "grid":
        return number
    size = grid_size(space)
    if size is None:
        raise UsageError(
            "sampler=grid needs steps or choices for every key: space.KEY=0..1/0.25, or a|b|c; off for others."
        )
    return min(size, number) if "trials" in values else size


def _first_pruned_epoch(base: Resolved, word: str) -> int:
    """From when on all terms are switched on, and a quarter of the training is over."""
    complete = METHODS.get(base.spec.method.name).complete_from(base.spec.method)
    chosen = _whole("prune_from", word, 1) if word else -(-base.spec.train.epochs // 4)
    return max(complete, chosen)
