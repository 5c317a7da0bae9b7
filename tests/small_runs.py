"""Finished runs for tests that only look at them: trained once for a file of tests, copied for each of them."""

import shutil
from pathlib import Path

import run
from benchmarks.records import RunFolder
from tests.test_every_method import words_of
from tests.test_experiment import only_run


def small_run(folder: Path, method: str = "differ", **words: object) -> RunFolder:
    """A run of a second or two in `folder`/runs, its images in `folder`/cache; `words`: keys with «__» for a dot."""
    own = {key.replace("__", "."): value for key, value in {"train__epochs": 1, "quiet": "true", **words}.items()}
    shared = [word for word in words_of(method, folder) if word.partition("=")[0] not in own]
    every = [*shared, *(f"{key}={value}" for key, value in own.items())]
    assert run.main(every) == 0
    return only_run(every)


def copied(trained: RunFolder, folder: Path) -> RunFolder:
    """A copy to be changed."""
    return RunFolder(Path(shutil.copytree(trained.path, folder / "runs" / trained.run_id)))
