"""Carrying out runs: one after the other under a live bar, or several side by side under one overview."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.table import Table

from benchmarks.interruption import StoppedError
from datasets.errors import CCReIDError, UsageError

from .console import Reporter
from .page import duration

if TYPE_CHECKING:
    from benchmarks.child import Outcome
    from benchmarks.records import RunFolder
    from benchmarks.resolve import Resolved

REDRAWS_PER_SECOND = 4


Failures = dict[str, tuple[int, str]]
"""Run id → exit code and reason."""


def carry_out(plans: "Sequence[Resolved]", jobs: int | None = None) -> int:
    """Run what is left of `plans` and print the scores of all; the exit code.

    Raises the error itself where there is a single plan and no `jobs`.
    """
    if len(plans) == 1 and jobs is None:
        carry_out_here(plans[0])
        return 0
    failures = run_all(plans, jobs)
    _print_results(plans)
    return tell_failures(failures, len(plans))


def run_all(plans: "Sequence[Resolved]", jobs: int | None) -> Failures:
    """Run what is left of `plans`. What fails stops nothing but itself; raises StoppedError after a signal.

    `jobs`: so many at once, each in a process of its own; None: one after the other in this one.
    """
    return _one_by_one(plans) if jobs is None else _side_by_side(plans, jobs)


def run_missing(plans: "Sequence[Resolved]", jobs: int | None) -> Failures:
    """The same without a word about the runs that are finished, but for their number."""
    from benchmarks.child import folder_of, is_finished
    from benchmarks.plugins import require_same_plugins

    missing = [plan for plan in plans if not is_finished(plan)]
    for plan in plans:
        if plan not in missing:
            require_same_plugins(folder_of(plan))
    if Reporter().leads:
        print(f"{_counted(len(plans))}: {len(plans) - len(missing)} finished, {len(missing)} to do")
    return run_all(missing, jobs) if missing else {}


def recorded(plans: "Sequence[Resolved]") -> "list[RunFolder]":
    """The folders of those that were started at least."""
    from benchmarks.child import folder_of

    return [folder for plan in plans if ((folder := folder_of(plan)).path / "spec.yaml").is_file()]


def tell_failures(failures: Failures, total: int) -> int:
    """Say again, at the end, which of `total` runs failed; the first one's exit code, 0 where none did."""
    for run_id, (_, reason) in failures.items():
        print(f"{run_id} failed: {reason}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} of {_counted(total)} failed; the same command tries again.", file=sys.stderr)
    return next((code for code, _ in failures.values()), 0)


def _counted(runs: int) -> str:
    return f"{runs} run{'s' * (runs != 1)}"


def _one_by_one(plans: "Sequence[Resolved]") -> Failures:
    failures: Failures = {}
    for number, plan in enumerate(plans, start=1):
        print(f"[{number}/{len(plans)}] {plan.spec.run_id}")
        try:
            carry_out_here(plan)
        except StoppedError:
            raise
        except CCReIDError as error:
            failures[plan.spec.run_id] = (error.exit_code, str(error))
            print(error, file=sys.stderr)
    return failures


def carry_out_here(plan: "Resolved") -> None:
    """One run in this process."""
    from benchmarks.experiment import run

    from .listeners import listening

    with Reporter(quiet=plan.session.quiet) as reporter, listening(plan, reporter) as listen:
        folder = run(plan.spec, plan.session, listen)
    if reporter.leads:
        if plan.session.test:
            reporter.score_table(folder.scores(), folder.headline)
        print(folder.path)


def _side_by_side(plans: "Sequence[Resolved]", jobs: int) -> Failures:
    from benchmarks.child import places
    from benchmarks.launch import launch

    with Overview(quiet=plans[0].session.quiet) as overview:
        outcomes = launch(plans, places(jobs, plans[0].session.device), overview)
    return {
        one.run_id: (one.exit_code if one.exit_code > 0 else 1, one.reason) for one in outcomes if not one.succeeded
    }


def _print_results(plans: "Sequence[Resolved]") -> None:
    from benchmarks.comparison import DONE, state_of

    reporter = Reporter()
    if reporter.leads and (finished := [folder for folder in recorded(plans) if state_of(folder) == DONE]):
        reporter.summary(finished)


def read_jobs(word: str | None) -> int | None:
    """The number in jobs=N. Raises UsageError for anything else."""
    if word is None:
        return None
    if not word.isdecimal() or int(word) < 1:
        raise UsageError(f"jobs={word}: say how many runs at once, such as jobs=2; leave it out to run them in turn.")
    return int(word)


class Overview:
    """Hears of many runs: a live table on a terminal; in a pipe one line for each that starts or ends."""

    def __init__(self, *, quiet: bool = False):
        self.reporter = Reporter(quiet=quiet)
        terminal = self.reporter.console.is_terminal and not quiet
        self._live = Live(console=self.reporter.console, refresh_per_second=REDRAWS_PER_SECOND, transient=True)
        self._is_live = terminal

    def __enter__(self) -> "Overview":
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            self._live.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        getattr(self, "on_" + event["event"].replace("-", "_"))(event)

    def on_job_start(self, event: Mapping[str, Any]) -> None:
        place = event["place"]
        self.reporter.say(f"{event['run']}: started on {place.device}, {place.threads} threads")

    def on_job_end(self, event: Mapping[str, Any]) -> None:
        outcome: Outcome = event["outcome"]
        why = f": {outcome.reason}" if outcome.reason else ""
        done = f"[{event['done']}/{event['total']}]"
        self.reporter.say(f"{done} {outcome.run_id}: {outcome.state} after {duration(outcome.seconds)}{why}")

    def on_jobs(self, event: Mapping[str, Any]) -> None:
        if self._is_live:
            self._live.update(overview_table(event))


def overview_table(event: Mapping[str, Any]) -> Table:
    """What runs, with its epoch; how many are done, failed, to do; when everything will be over."""
    running, total = event["running"], event["total"]
    waiting = total - event["done"] - event["failed"] - len(running)
    eta = f" · about {duration(event['eta'])} left" if event["eta"] is not None else ""
    title = f"{event['done']}/{total} done · {event['failed']} failed · {waiting} waiting{eta}"
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, show_header=False)
    for run_id, (epoch, epochs, seconds) in running.items():
        table.add_row(run_id, f"epoch {epoch}/{epochs}", duration(seconds))
    return table
