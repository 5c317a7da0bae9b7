"""What running many costs: a process of its own for each run, and looking at runs that are done.

    python -m benchmarks.perf.launching                          both, in a temporary folder
    python -m benchmarks.perf.launching rounds=5 runs=1000

Overhead: the same small run by `python run.py …`, by `… jobs=1`, and as a child of a process that has been running for
a while, as all runs of a product or a sweep are; in turns, the median of the differences. In brackets processor
seconds, which mean something on a busy machine, too.
Scheduling: as many runs as `runs` says, copied from one real run, are looked at again: resolving their words, finding
them done, and the whole command until its first line and its end.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.child import PROGRAM, Place, places
from benchmarks.launch import launch
from benchmarks.resolve import Resolved, resolve
from benchmarks.words import parse_words, product
from datasets.errors import CCReIDError, UsageError

WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
SMALL = (
    *("method=baseline", "dataset=synthetic", "dataset.people=12", "dataset.test_people=4", "dataset.tracklets=1"),
    *("dataset.frames=2", "dataset.height=64", "image.height=32", "image.width=16", "method.backbone=resnet10t"),
    *("method.last_stride=2", "method.pretrained=false", "sampler.batch_size=16", "train.epochs=2", "device=cpu"),
)


def timed(folder: Path, *words: str) -> float:
    """Seconds of one command."""
    start = time.perf_counter()
    command = [sys.executable, str(PROGRAM), *SMALL, f"runs={folder / 'runs'}", f"cache={folder / 'cache'}", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 (this program)
    return time.perf_counter() - start


def as_child(folder: Path, seed: str) -> float:
    """Seconds of a run that this process starts."""
    start = time.perf_counter()
    (outcome,) = launch([planned(folder, seed)], places(1, "cpu"), lambda event: None)
    assert outcome.succeeded, outcome.reason
    return time.perf_counter() - start


def planned(folder: Path, *words: str) -> Resolved:
    (plan,) = plans_of(folder, *words)
    return plan


def plans_of(folder: Path, *words: str) -> list[Resolved]:
    every = [*SMALL, f"runs={folder / 'runs'}", f"cache={folder / 'cache'}", *words]
    return [resolve(values) for values in product(parse_words(every))]


def overhead(folder: Path, rounds: int) -> list[dict[str, tuple[float, float]]]:
    """(seconds, processor seconds) of the three ways in each round; each round begins with another."""
    timed(folder, "seed=999999")  # decodes the images
    as_child(folder, "seed=999998")  # imports
    ways = [
        ("bare", lambda seed: timed(folder, seed)),
        ("jobs=1", lambda seed: timed(folder, seed, "jobs=1")),
        ("child", lambda seed: as_child(folder, seed)),
    ]
    found = []
    for number in range(rounds):
        turn = ways[number % 3 :] + ways[: number % 3]
        one = {}
        for place, (name, way) in enumerate(turn):
            before = _processor()
            seconds = way(f"seed={3 * number + place}")
            one[name] = (seconds, _processor() - before)
        found.append(one)
    return found


def _processor() -> float:
    """Seconds of processors that this process and those it started have used."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, WHO))


def fabricated(folder: Path, number: int) -> str:
    """That many finished runs, copied from one; the word that names their seeds."""
    timed(folder, "seed=0")
    plan = planned(folder, "seed=0")
    source = plan.session.runs / plan.run_id
    for seed in range(1, number):
        copy = source.with_name(f"{plan.run_id.rpartition('-s')[0]}-s{seed}")
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("checkpoints", "features"))
        text = (source / "spec.yaml").read_text()
        (copy / "spec.yaml").write_text(text.replace("\nseed: 0\n", f"\nseed: {seed}\n"))
    return f"seed=0..{number - 1}"


def scheduling(folder: Path, seeds: str) -> tuple[float, float]:
    """Seconds to resolve the words, and of `launch`."""
    start = time.perf_counter()
    plans = plans_of(folder, seeds)
    resolved = time.perf_counter()
    outcomes = launch(plans, [Place("cpu", 1)], lambda event: None)
    assert all(outcome.state == "done" and not outcome.seconds for outcome in outcomes), "a run was not done"
    return resolved - start, time.perf_counter() - resolved


def until(folder: Path, seeds: str, *more: str) -> tuple[float, float]:
    """Seconds until the command has looked at all runs and says so, and until its end."""
    start = time.perf_counter()
    command = [sys.executable, str(PROGRAM), *SMALL, f"runs={folder / 'runs'}", f"cache={folder / 'cache'}", seeds]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, env=environment)  # noqa: S603 (this program)
    assert process.stdout is not None
    process.stdout.readline()
    first = time.perf_counter() - start
    process.communicate()
    assert process.returncode == 0
    return first, time.perf_counter() - start


def main(words: list[str]) -> None:
    values = {"rounds": "5", "runs": "1000"} | parse_words(words)
    for key, word in values.items():
        if key not in ("rounds", "runs") or not word.isdecimal() or int(word) < 2:
            raise UsageError(f"{key}={word}: write rounds= or runs= and a whole number above 1.")
    print(f"load of the machine at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        found = overhead(Path(name), int(values["rounds"]))
    for one in found:
        print("   ".join(f"{way} {seconds:6.2f} s ({used:5.2f})" for way, (seconds, used) in sorted(one.items())))
    for way, what in (("child", "a run that a running process starts"), ("jobs=1", "the whole command with jobs=1")):
        more, used = (statistics.median(one[way][part] - one["bare"][part] for one in found) for part in (0, 1))
        print(f"{what}: {more:+.2f} s, {used:+.2f} processor seconds (medians of the differences to the bare command)")
    with tempfile.TemporaryDirectory() as name:
        folder, number = Path(name), int(values["runs"])
        seeds = fabricated(folder, number)
        scheduling(folder, "seed=0")  # imports
        resolving, launching = min(scheduling(folder, seeds) for _ in range(3))
        print(f"{number} done runs: resolved in {resolving:.2f} s, looked at in {launching:.2f} s (best of 3)")
        for what, more in (("jobs=2", ["jobs=2"]), ("dry=true", ["dry=true"])):
            first, whole = until(folder, seeds, *more)
            print(f"the command with {what}: {first:.2f} s until its first line, {whole:.2f} s in all")
        first, whole = until(folder, "seed=0", "jobs=2")
        print(f"the same for one done run: {first:.2f} s until its first line, {whole:.2f} s in all")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CCReIDError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
