"""The command line: `python run.py [verb] key=value …`. Parse, dispatch a verb, exit code; all else lies below."""

import errno
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reports import usage

if TYPE_CHECKING:
    from benchmarks.resolve import Resolved
    from datasets.errors import CCReIDError


class Verb(NamedTuple):
    run: Callable[[Sequence[str]], int]
    summary: str
    help: str


def main(words: Sequence[str]) -> int:
    """Carry out a command line; the exit code."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage.PROGRAM.format(verbs="\n".join(f"  {name:<12}{verb.summary}" for name, verb in VERBS.items())))
        return 0
    name, rest = ("train", words) if "=" in words[0] or words[0].startswith("-") else (words[0], words[1:])
    from datasets.errors import CCReIDError, DataError, did_you_mean

    try:
        if name not in VERBS:
            print(f"Unknown verb {name}.{did_you_mean(name, VERBS)} Verbs: {', '.join(VERBS)}.", file=sys.stderr)
            return 2
        if any(word in ("-h", "--help") for word in rest):
            print(VERBS[name].help)
            return 0
        return VERBS[name].run(_load_plugin(rest) if name in TAKES_PLUGIN else rest)
    except CCReIDError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # no permission, no space, a file where a folder should be
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        print(f"{what}; name another place, or mend this one.", file=sys.stderr)
        return DataError.exit_code
    except Exception as error:
        if (mistake := _of_plugin(error)) is None:
            raise
        print(mistake, file=sys.stderr)
        return mistake.exit_code


# --- train ---


def train(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words

    values = parse_words(words)
    if "plan" in values:
        from reports.running import carry_out_for_a_parent

        return carry_out_for_a_parent()
    if "suite" in values:
        return suite(values)
    config, ablation, show, dry, jobs = (
        values.pop(key, None) for key in ("config", "ablation", "print", "dry", "jobs")
    )
    from reports.running import carry_out, read_jobs

    at_once, plans = read_jobs(jobs), _plans(values, config, ablation)
    if _print_planned(plans, show, dry, {}):
        return 0
    return carry_out(plans, at_once)


def _plans(values: dict[str, str], config: str | None, ablation: str | None) -> "list[Resolved]":
    """One resolved configuration per combination of the comma lists."""
    from benchmarks.resolve import resolve
    from benchmarks.words import product

    rows = ablation.split(",") if ablation else [None]
    file = Path(config) if config else None
    plans = [resolve(combination, file, row) for combination in product(values) for row in rows]
    return list({plan.run_id: plan for plan in plans}.values())


def _print_planned(plans: "Sequence[Resolved]", show: str | None, dry: str | None, rows: Mapping[str, str]) -> bool:
    """Whether print= or dry= asked for nothing but a look; `rows`: run id → row of a table."""
    from benchmarks.words import read_switch
    from reports.planned import config_lines, plan_lines

    if show is not None:
        _print(config_lines(plans, show))
        return True
    if read_switch("dry", dry):
        _print(plan_lines(plans, rows))
        return True
    return False


# --- suites and ablations ---


def suite(values: dict[str, str], *, run_missing: bool = True) -> int:
    from benchmarks.suite_plans import plan_suite
    from reports.running import read_jobs
    from reports.suites import carry_out_suite, on_disk, require_some, show_suite
    from reports.tables import read_formats

    config, show, dry, jobs, out, formats = (
        values.pop(key, None) for key in ("config", "print", "dry", "jobs", "out", "format")
    )
    planned = plan_suite(values, Path(config) if config else None)
    number, kinds = read_jobs(jobs), read_formats(formats)
    if not run_missing:
        show_suite(planned, _out(out), kinds)
        return 0
    plans, left_out = on_disk(planned) if show is None else (planned.all, [])
    _print(left_out)
    if _print_planned(plans, show, dry, planned.rows):
        require_some(planned, plans)
        return 0
    return carry_out_suite(planned, plans, number, _out(out), kinds)


def ablate(words: Sequence[str]) -> int:
    from benchmarks.ablation_plans import plan_ablation
    from benchmarks.words import parse_words, read_names, read_switch
    from datasets.errors import UsageError
    from reports.ablating import carry_out_ablation, read_retune
    from reports.running import read_jobs
    from reports.tables import read_formats

    values = parse_words(words)
    config, show, dry, jobs, rows, grid, out, formats, retune = (
        values.pop(key, None) for key in ("config", "print", "dry", "jobs", "rows", "grid", "out", "format", "retune")
    )
    file, at_once = Path(config) if config else None, read_jobs(jobs)
    space = {key: values.pop(key) for key in list(values) if key.startswith("space.")}
    study = plan_ablation(values, file, read_names(rows), grid=read_switch("grid", grid))
    _print(study.remarks)
    trials = read_retune(retune)
    if _print_planned(study.plans, show, dry, study.rows):
        _print([f"Before, each row is tuned anew with {trials} trials: its runs get other ids."] * bool(trials))
        return 0
    if trials:
        from reports.sweeping import SweepReporter
        from sweeps.retuning import retuned

        with SweepReporter() as reporter:
            tuned = retuned(study, trials, space, file, at_once or 1, reporter)
        _print(tuned.remarks[len(study.remarks) :])
        study = tuned
    elif space:
        raise UsageError(f"{next(iter(space))} is for retune=N, which re-tunes every row: add it, or leave this out.")
    return carry_out_ablation(study, at_once, _out(out), read_formats(formats))


# --- sweep ---


def sweep(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words
    from reports.sweeping import SweepReporter
    from sweeps.command import sweep

    with SweepReporter() as reporter:
        found = sweep(parse_words(words), words, reporter)
        reporter.result(found.study, found.folder.path)
    return 0


# --- evaluate ---


def evaluate(words: Sequence[str]) -> int:
    from benchmarks.evaluation import evaluate_checkpoint, evaluate_features, evaluate_run
    from benchmarks.selection import marked
    from benchmarks.words import parse_words, read_value
    from datasets.errors import UsageError
    from reports.console import Reporter

    values = parse_words(words)
    sources = {key: values.pop(key) for key in ("run", "features", "checkpoint") if key in values}
    if len(sources) != 1:
        raise UsageError("evaluate needs one of run=ID, features=FILE.npz dataset=NAME, checkpoint=FILE method=NAME.")
    ((source, given),) = sources.items()
    name = _required(values, "dataset.name", usage.EVALUATE) if source == "features" else ""
    selection = values.pop("selection", None) if source == "run" else None
    options = {key: read_value(key, value) for key, value in values.items()}
    with Reporter(quiet=values.get("quiet") == "true") as reporter:
        if source == "features":
            result = evaluate_features(Path(given), name, options)
        elif source == "checkpoint":
            result = evaluate_checkpoint(Path(given), options, reporter)
        else:
            result = evaluate_run(given, selection, options, reporter)
    if reporter.leads:
        reporter.evaluation_table(result.rows, result.options)
        print(f"selection: {marked(result.selection)}")
        print(result.folder)
    return 0


# --- list and show ---


def list_(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words
    from datasets.errors import UsageError, did_you_mean
    from reports.listing import LISTINGS

    what = words[0] if words else ""
    if what not in LISTINGS:
        raise UsageError(f"list what?{did_you_mean(what, LISTINGS)} Choose one of {', '.join(LISTINGS)}.")
    return _print(LISTINGS[what](_only(parse_words(words[1:]), {"dataset.name", "method.name", "runs"})))


def show(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words
    from reports.listing import show

    known = {"method.name", "dataset.name", "suite", "run", "study", "runs"}
    return _print(show(_only(parse_words(words), known)))


def _print(lines: Iterable[str]) -> int:
    for line in lines:
        print(line)
    return 0


# --- check and synthesize ---


def check(words: Sequence[str]) -> int:
    from benchmarks.check import check_dataset
    from benchmarks.words import parse_words, read_switch

    values = parse_words(words)
    name, deep = _required(values, "dataset.name", usage.CHECK), read_switch("deep", values.pop("deep", None))
    levels = set()
    for level, sentence in check_dataset(name, values, deep=deep):
        levels.add(level)
        print(f"{level:<8} {sentence}")
    return 3 if "error" in levels else 0


def synthesize(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words, read_value
    from datasets.errors import UsageError
    from reports.synthesis import save_contact_sheet, write_world

    values = parse_words(words)
    layout, out, sheet = (values.pop(key, None) for key in ("layout", "out", "sheet"))
    options = {key: read_value(key, value) for key, value in values.items()}
    if sheet is not None and layout is None and out is None:
        print(save_contact_sheet(Path(sheet), options))
    elif layout is not None and out is not None:
        print(write_world(layout, Path(out), options))
    else:
        raise UsageError("synthesize needs either layout=NAME and out=DIR, or sheet=FILE.png.")
    return 0


# --- caption and encode ---


def caption(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words, read_value
    from reports.captioning import caption

    values = parse_words(words)
    name = _required(values, "dataset.name", usage.CAPTION)
    return _print(map(str, caption(name, {key: read_value(key, value) for key, value in values.items()})))


def encode(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words
    from reports.captioning import encode

    values = parse_words(words)
    name = _required(values, "dataset.name", usage.ENCODE)
    return _print(map(str, encode(name, values)))


# --- evidence ---


def report(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words

    values = parse_words(words)
    if "suite" in values:
        return suite(values, run_missing=False)
    from reports.report import write_report

    return _print(write_report(values))


def compare(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words
    from reports.comparing import compare_runs

    return _print(compare_runs(_only(parse_words(words), {"a", "b", "metric", "runs"})))


def retrieval(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words
    from reports.retrieval import write_retrieval

    return _print(write_retrieval(parse_words(words)))


def wandb(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words
    from reports.wandb_mirror import mirror_runs

    return _print(mirror_runs(parse_words(words)))


# --- words ---


def _load_plugin(words: Sequence[str]) -> list[str]:
    """The words without plugin=FILE, which is imported."""
    for word in words:
        if word.startswith("plugin="):
            from benchmarks.plugins import load_plugin

            load_plugin(Path(word.removeprefix("plugin=")))
    return [word for word in words if not word.startswith("plugin=")]


def _of_plugin(error: Exception) -> "CCReIDError | None":
    """What to say of an error in a plugin's code; None where there is none, or it had no part in it."""
    if "benchmarks.plugins" not in sys.modules:
        return None
    from benchmarks.plugins import failing_plugin

    return failing_plugin(error)


def _required(values: dict[str, str], key: str, verb_usage: str) -> str:
    from datasets.errors import UsageError, did_you_mean

    if key not in values:
        short = key.removesuffix(".name")
        for word in values:
            if hint := did_you_mean(word, [short]):
                raise UsageError(f"Unknown key {word}.{hint}")
        raise UsageError(f"Say which {short}. {verb_usage.splitlines()[0]}")
    return values.pop(key)


def _only(values: dict[str, str], known: set[str]) -> dict[str, str]:
    from datasets.errors import UsageError, did_you_mean

    for key in values:
        if key not in known:
            raise UsageError(f"Unknown key {key}.{did_you_mean(key, known)}")
    return values


def _out(word: str | None) -> Path:
    return Path(word or "report").expanduser()


TAKES_PLUGIN = frozenset(
    ("train", "ablate", "sweep", "evaluate", "list", "show", "check", "report", "compare", "retrieval", "wandb")
)
VERBS = {
    "train": Verb(train, "train, select, evaluate and record (the default)", usage.TRAIN),
    "ablate": Verb(ablate, "which parts of a method matter: its ablation table", usage.ABLATE),
    "sweep": Verb(sweep, "tune loss weights on held-out training identities, confirmed on fresh seeds", usage.SWEEP),
    "evaluate": Verb(evaluate, "score a finished run, a checkpoint or features from elsewhere", usage.EVALUATE),
    "list": Verb(list_, "methods, datasets, protocols, suites, published numbers, runs or sweeps", usage.LIST),
    "show": Verb(show, "every key, recipe and quirk of a method, a dataset, a suite, a run or a sweep", usage.SHOW),
    "report": Verb(report, "tables, figures and a page of finished runs", usage.REPORT),
    "compare": Verb(compare, "does one method beat another?", usage.COMPARE),
    "retrieval": Verb(retrieval, "pictures of the nearest gallery images", usage.RETRIEVAL),
    "wandb": Verb(wandb, "mirror finished runs to W&B", usage.WANDB),
    "check": Verb(check, "is a dataset's folder right?", usage.CHECK),
    "synthesize": Verb(synthesize, "write the synthetic world to disk", usage.SYNTHESIZE),
    "caption": Verb(caption, "let a vision-language model describe a dataset's training images", usage.CAPTION),
    "encode": Verb(encode, "turn these sentences into text features", usage.ENCODE),
}

if __name__ == "__main__":
    # Threads that wait give their core away: two runs on the same cores, spinning, were measured 20 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main(sys.argv[1:]))
