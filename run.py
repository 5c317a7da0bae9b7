"""The command line: `python run.py [verb] key=value …`. Parse, dispatch a verb, exit code; all else lies below."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.records import RunFolder
    from benchmarks.resolve import Resolved

HELP = """\
ccreid-bench: a benchmark for clothes-changing person re-identification.

usage: python run.py [verb] key=value …          (no verb: train)

  python run.py method=differ dataset=synthetic               first five minutes, no data
  python run.py method=differ dataset=ltcc data=DIR           the paper's recipe on LTCC
  python run.py method=baseline,differ dataset=ltcc seed=0,1  comma lists: every combination, one run each

verbs:
{verbs}

`python run.py VERB --help` says more. The same command again goes on with a run that was broken off.
exit codes: 0 done · 2 usage · 3 data problem · 4 diverged · 75 stopped by a signal after a checkpoint"""

TRAIN_HELP = """\
usage: python run.py [train] method=NAME dataset=NAME [key=value …]

Train, select, evaluate and record one experiment, or every combination of comma lists.

  data=DIR            folder that holds the datasets (or the variable CCREID_DATA)
  seed=0,1,2          one run each
  config=FILE         YAML or Python with any of the keys; `_base_` inherits
  plugin=FILE.py      a method or dataset of your own, docs/add-a-method.md (evaluate, show, list, check take it too)
  ablation=NAME       a row of the method's ablation table (`show method=NAME`)
  print=config        print every key, its value and where it came from, and stop
  dry=true            list the runs with their ids and what is done, and stop
  runs=DIR cache=DIR device=cuda:0 quiet=true …       where and how, not what: `show method=NAME`

Several GPUs for one run: torchrun --nproc-per-node 4 run.py method=… dataset=…"""

EVALUATE_HELP = """\
usage: python run.py evaluate run=ID [selection=last|validation|oracle] [protocols=all] [evaluate.KEY=VALUE …]
       python run.py evaluate features=FILE.npz dataset=NAME data=DIR [protocols=all] [evaluate.KEY=VALUE …]
       python run.py evaluate checkpoint=FILE method=NAME dataset=NAME data=DIR [protocols=all] [KEY=VALUE …]

Score a finished run again, features that any other code base computed, or a checkpoint that a method's authors wrote,
under chosen options of the evaluation (protocols, metric, flip, normalise, rerank.method). protocols=all takes the
literature's older conventions too, and the first protocol under each option changed alone. The result is written under
the run's evaluations/, runs/features/ or runs/checkpoints/, and leaves the run's own scores alone. Needs no training
data; docs/evaluation.md says how to write FILE.npz."""

LIST_HELP = """\
usage: python run.py list methods|datasets|protocols|published|runs [dataset=NAME] [method=NAME] [runs=DIR]

published: what papers report under our protocols, each number with its source and how sure it is."""

SHOW_HELP = """\
usage: python run.py show method=NAME [dataset=NAME]    |    show dataset=NAME    |    show run=ID

Every key with its default, range and meaning; the paper's recipe; where the released code differs."""

CHECK_HELP = """\
usage: python run.py check dataset=NAME data=DIR [deep=true] [mask_folder=DIR caption_folder=DIR]

Is the dataset's folder right? Counts against the authors' table, unreadable images, images and people in both train and
test, cameras and outfits, masks and captions, what each protocol leaves, fingerprints. Opens every file, in seconds;
deep=true decodes every image and mask, in minutes. Exit code 3 when something is wrong."""

SYNTHESIZE_HELP = """\
usage: python run.py synthesize layout=LAYOUT out=DIR [people=60 test_people=60 seed=0 …]
       python run.py synthesize sheet=FILE.png [people=60 seed=0 …]

Write the synthetic world to disk in a dataset's official layout, with masks and captions, or a contact sheet of it.
LAYOUT is the name of a dataset with files (`list datasets`); then `dataset=LAYOUT data=DIR` reads what was written.
`show dataset=synthetic` lists the options of the world."""


CAPTION_HELP = """\
usage: python run.py caption dataset=NAME data=DIR endpoint=http://127.0.0.1:8000/v1 model=NAME [key=value …]

Make DIFFER's text: a vision-language model behind an OpenAI-compatible endpoint (vLLM, Ollama, llama.cpp) describes
every training image under six aspects and sums up each person. The same command again asks only what has no answer yet.

  summary_model=NAME      sums up; the vision-language model when not given
  limit=8                 a trial: the first images only, some shown, no files but the journal
  per_minute=60           most requests started in a minute          parallel=4      most under way at once
  timeout=60              seconds that a request may take            retries=5       repetitions of a question
  backoff=1               seconds of the first pause, doubling       max_tokens=1024 longest answer, or none
  api_key_env=VARIABLE    environment variable that holds the key
  missing=error|drop      images that get no usable answer or are refused: no files yet, or files without them
  split=train             which images; methods read the text of train
  caption_folder=DIR      where the files go; captions/ beside the dataset when not given

The images go to the endpoint: look at the dataset's terms (`show dataset=NAME`) before it is another machine. Exit
code 3 when images got no usable answer. docs/captions.md has the servers' commands, the cost and the files."""

ENCODE_HELP = """\
usage: python run.py encode dataset=NAME data=DIR text_model=NAME [weights_file=FILE] [caption_folder=DIR device=cuda]

Turn what `caption` wrote into the features that methods read. text_model: EVA02-CLIP-B-16, EVA02-CLIP-L-14 or
EVA02-CLIP-bigE-14 with open_clip's weights in weights_file, or hashing-D, such as hashing-64, which needs none."""


class Verb(NamedTuple):
    run: Callable[[Sequence[str]], int]
    summary: str
    help: str


def main(words: Sequence[str]) -> int:
    """Carry out a command line; the exit code."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP.format(verbs="\n".join(f"  {name:<12}{verb.summary}" for name, verb in VERBS.items())))
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
        if error.filename is None:
            raise
        print(f"{error.filename}: {error.strerror}; name another place, or mend this one.", file=sys.stderr)
        return DataError.exit_code


# --- train ---


def train(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words

    values = parse_words(words)
    config, ablation, show, dry = (values.pop(key, None) for key in ("config", "ablation", "print", "dry"))
    plans = _plans(values, config, ablation)
    if show is not None:
        return _print_config(plans, show)
    if _yes("dry", dry):
        return _print_plans(plans)
    folders = []
    for number, plan in enumerate(plans, start=1):
        if len(plans) > 1:
            print(f"[{number}/{len(plans)}] {plan.spec.run_id}")
        folders.append(_carry_out(plan))
    if len(plans) > 1:
        _print_summary(folders)
    return 0


def _plans(values: dict[str, str], config: str | None, ablation: str | None) -> "list[Resolved]":
    """One resolved configuration per combination of the comma lists."""
    from benchmarks.resolve import resolve
    from benchmarks.words import product

    rows = ablation.split(",") if ablation else [None]
    file = Path(config) if config else None
    plans = [resolve(combination, file, row) for combination in product(values) for row in rows]
    return list({plan.spec.run_id: plan for plan in plans}.values())


def _carry_out(plan: "Resolved") -> "RunFolder":
    from benchmarks.experiment import run
    from reports.console import Reporter

    with Reporter(quiet=plan.session.quiet) as reporter:
        folder = run(plan.spec, plan.session, reporter)
    if reporter.leads:
        reporter.score_table(folder.scores(), folder.headline)
        print(folder.path)
    return folder


def _print_summary(folders: "Sequence[RunFolder]") -> None:
    from reports.console import Reporter

    reporter = Reporter()
    if reporter.leads:
        reporter.summary(folders)


def _print_config(plans: "list[Resolved]", what: str) -> int:
    import yaml

    from benchmarks.resolve import describe
    from datasets.errors import UsageError

    if what != "config":
        raise UsageError(f"print={what} is not known: print=config shows the resolved configuration.")
    for plan in plans:
        print(f"# {plan.spec.run_id}")
        for key, value, origin in describe(plan):
            text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
            print(f"{f'{key}: {text}':<60} # {origin}")
    return 0


def _print_plans(plans: "list[Resolved]") -> int:
    from benchmarks.records import RunStore

    for plan in plans:
        state = RunStore(plan.session.runs).open(plan.spec.run_id).status()["state"]
        print(f"{plan.spec.run_id}  {'to do' if state == 'new' else state}")
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
    name = _required(values, "dataset.name", EVALUATE_HELP) if source == "features" else ""
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

    return _print(show(_only(parse_words(words), {"method.name", "dataset.name", "run", "runs"})))


def _print(lines: Iterable[str]) -> int:
    for line in lines:
        print(line)
    return 0


# --- check and synthesize ---


def check(words: Sequence[str]) -> int:
    from benchmarks.check import check_dataset
    from benchmarks.words import parse_words

    values = parse_words(words)
    name, deep = _required(values, "dataset.name", CHECK_HELP), _yes("deep", values.pop("deep", None))
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
    name = _required(values, "dataset.name", CAPTION_HELP)
    return _print(map(str, caption(name, {key: read_value(key, value) for key, value in values.items()})))


def encode(words: Sequence[str]) -> int:
    from benchmarks.words import parse_words
    from reports.captioning import encode

    values = parse_words(words)
    name = _required(values, "dataset.name", ENCODE_HELP)
    return _print(map(str, encode(name, values)))


# --- words ---


def _load_plugin(words: Sequence[str]) -> list[str]:
    """The words without plugin=FILE, which is imported."""
    for word in words:
        if word.startswith("plugin="):
            from benchmarks.plugins import load_plugin

            load_plugin(Path(word.removeprefix("plugin=")))
    return [word for word in words if not word.startswith("plugin=")]


def _required(values: dict[str, str], key: str, usage: str) -> str:
    from datasets.errors import UsageError, did_you_mean

    if key not in values:
        short = key.removesuffix(".name")
        for word in values:
            if hint := did_you_mean(word, [short]):
                raise UsageError(f"Unknown key {word}.{hint}")
        raise UsageError(f"Say which {short}. {usage.splitlines()[0]}")
    return values.pop(key)


def _only(values: dict[str, str], known: set[str]) -> dict[str, str]:
    from datasets.errors import UsageError, did_you_mean

    for key in values:
        if key not in known:
            raise UsageError(f"Unknown key {key}.{did_you_mean(key, known)}")
    return values


def _yes(key: str, value: str | None) -> bool:
    from datasets.errors import UsageError

    if value not in (None, "true", "false"):
        raise UsageError(f"{key}={value}: write {key}=true or {key}=false.")
    return value == "true"


TAKES_PLUGIN = ("train", "evaluate", "list", "show", "check")
VERBS = {
    "train": Verb(train, "train, select, evaluate and record (the default)", TRAIN_HELP),
    "evaluate": Verb(evaluate, "score a finished run, a checkpoint or features from elsewhere", EVALUATE_HELP),
    "list": Verb(list_, "methods, datasets, protocols, published numbers or runs", LIST_HELP),
    "show": Verb(show, "every key, recipe and quirk of a method, a dataset or a run", SHOW_HELP),
    "check": Verb(check, "is a dataset's folder right?", CHECK_HELP),
    "synthesize": Verb(synthesize, "write the synthetic world to disk", SYNTHESIZE_HELP),
    "caption": Verb(caption, "let a vision-language model describe a dataset's training images", CAPTION_HELP),
    "encode": Verb(encode, "turn these sentences into text features", ENCODE_HELP),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
