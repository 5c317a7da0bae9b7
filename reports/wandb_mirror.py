"""The verb `wandb`: mirror the runs of a store, those of which W&B lacks something; and the follower of a training.

`runs/` stays the truth. Offline unless `wandb=online` stands on the command line.
"""

import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.records import RunFolder, RunStore
from benchmarks.studies import Study
from datasets import DATASETS
from datasets.errors import CCReIDError, DataError, UsageError, did_you_mean

from .choosing import KEYS
from .run_scalars import points
from .studies.choosing import chosen_studies, runs_beside, trial_runs
from .wandb_client import MODES, PROJECT, Client, Target, one_line, only_one, sync_command
from .wandb_run import Mirror, remembered, up_to_date
from .wandb_studies import mirror_studies
from .wandb_tables import datasets_of, mirror_tables

WORDS = (*KEYS, "wandb", "project", "entity", "again", "faces", "data", "mask_folder", "cache")
PLACES = ("data", "mask_folder", "cache")
WARNING = "warning: "
"""Begins a line of `follow` that is to be seen even where little is printed."""
SAID_WHY = 70
"""Exit code of `follow` where it has printed what went wrong."""


def mirror_runs(values: Mapping[str, str]) -> Iterator[str]:
    """Mirror the chosen runs, those of which something is missing, and a table for each dataset; say where they are.

    Raises UsageError for a wrong word, DataError at the end where folders of runs could not be read.
    """
    target, again, faces = _read_words(values)
    if "follow" in values:
        _follow(RunFolder(Path(values["follow"])), target)
        return
    said: list[str] = []
    studies, unreadable = chosen_studies(values)
    runs = _with_trials(values, studies)
    if target.mode == "online":
        yield "wandb=online uploads pictures" + (", heads blurred." if faces == "blur" else "; faces=blur hides heads.")
        yield from terms(runs)
    client = Client(target, said.append)
    places = {key: values[key] for key in PLACES if key in values}
    current, damaged = 0, 0
    for run in runs:
        try:
            if not again and up_to_date(run, client.target):
                current += 1
                continue
            with only_one(target, run.run_id) as alone:
                if alone:
                    _replay(Mirror(run, client, faces=faces, places=places))
                else:
                    said.append(f"{run.run_id}: another process mirrors it just now.")
        except CCReIDError as error:
            damaged += 1
            said.append(f"{run.run_id}: not mirrored. {error}")
        yield from _taken(said)
    if current:
        yield f"{current} of {len(runs)} runs are up to date in {where(client.target)}; again=true mirrors them again."
    mirror_tables(runs, client, again=again)
    mirror_studies(studies, client, again=again)
    said += unreadable
    yield from _taken(said)
    if client.target.mode == "online":
        from .wandb_workspace import publish

        publish(runs, client, studies)
    else:
        yield from _how_to_sync(client.target, runs)
    yield from _taken(said)
    if damaged:
        raise DataError(f"{damaged} of {len(runs)} runs were not mirrored: see above.")


def _with_trials(values: Mapping[str, str], studies: Sequence[Study]) -> list[RunFolder]:
    """The chosen runs, then the trials of the studies, each once."""
    found = [*runs_beside(values, studies), *trial_runs(values, studies)]
    return list({run.run_id: run for run in found}.values())


def _read_words(values: Mapping[str, str]) -> tuple[Target, bool, str]:
    known = {key.removesuffix(".name") for key in WORDS}
    for key in values:
        if key not in (*WORDS, "follow"):
            raise UsageError(f"Unknown key {key}.{did_you_mean(key, known)} Known: {', '.join(sorted(known))}.")
    for key, allowed in (("wandb", MODES), ("again", ("true", "false")), ("faces", ("shown", "blur"))):
        if values.get(key, allowed[0]) not in allowed:
            raise UsageError(f"{key}={values[key]}: choose one of {', '.join(allowed)}.")
    target = Target(
        RunStore.of(values).root / ".wandb",
        values.get("wandb", "offline"),
        values.get("project", PROJECT),
        values.get("entity"),
    )
    return target, values.get("again") == "true", values.get("faces", "shown")


def _replay(mirror: Mirror) -> None:
    """Mirror one run from beginning to end; an error of W&B becomes a sentence."""
    run, say = mirror.run, mirror.client.say
    try:
        mirror.close()
    except CCReIDError:
        raise
    except Exception as error:  # wandb raises what it likes: ConnectionResetError, CommError, its own UsageError, …
        mirror.abandon()
        say(f"{run.run_id}: W&B failed, so it is not mirrored ({type(error).__name__}: {one_line(error)}).")
        return
    found = remembered(run)
    curves = sum(1 for _ in points(run.events()))
    with_pictures = ", strips, rankings" if found["pictures"] else ""
    say(f"{run.run_id}: {found['status']}, {curves} points{with_pictures} → {where(mirror.client.target)}.")


def where(target: Target) -> str:
    """The target in words."""
    project = "/".join(filter(None, (target.entity, target.project)))
    return f"W&B, project {project}" if target.mode == "online" else f"{target.root} (offline, project {project})"


def terms(runs: Iterable[RunFolder]) -> Iterator[str]:
    """Whose pictures are uploaded, and what the datasets' licences say of that."""
    for name in datasets_of(runs):
        yield terms_of(name)


def terms_of(dataset: str) -> str:
    if dataset not in DATASETS.entries:
        return f"Pictures of {dataset}: its terms are not known, say plugin=FILE for the plugin it comes from."
    return f"Pictures of {dataset}: {DATASETS.get(dataset).terms or 'the dataset states no terms.'}"


def _how_to_sync(target: Target, runs: list[RunFolder]) -> Iterator[str]:
    folders = [folder for run in runs for folder in target.offline_folders(run.run_id)]
    if folders:
        yield "Nothing left this machine. To upload everything later, pictures included:"
        yield f"  {sync_command([target.root / 'wandb' / 'offline-run-*'])}"
    for line in terms(runs) if folders else ():
        yield f"  {line}"


def _taken(said: list[str]) -> Iterator[str]:
    """What was said since the last time."""
    yield from said
    said.clear()


# --- beside a training ---


def _follow(run: RunFolder, target: Target) -> None:
    """Mirror a run that another process trains: at each line on standard input, and to the end when it closes.

    `listeners.LiveMirror` starts this. A process of its own, so that nothing that W&B does reaches the training; the
    input closes when the training ends, however it ends.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a scheduler tells every process; the training's end is ours

    def warn(line: str) -> None:
        print(f"{WARNING}{line}", flush=True)

    with only_one(target, run.run_id) as alone:
        if not alone:
            warn("another process mirrors this run to W&B; `python run.py wandb` mirrors what is missing later.")
            return
        try:
            mirror = Mirror(run, Client(target, warn))
            for _ in sys.stdin:
                mirror.catch_up()
            begun = (run.path / "spec.yaml").exists()
            if begun and (mirror.tracker is not None or not up_to_date(run, mirror.client.target)):
                mirror.close()
        except Exception as error:  # also of a damaged folder: the training says that by itself
            warn(f"W&B failed and mirrors this run no longer ({type(error).__name__}: {one_line(error)}).")
            raise SystemExit(SAID_WHY) from None
        for folder in mirror.client.target.offline_folders(run.run_id):
            print(f"W&B, offline: `{sync_command([folder])}` uploads it, pictures included.", flush=True)
