"""Carrying out runs: one after the other under a live bar, or several side by side under one overview."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmarks.interruption import StoppedError
from datasets.errors import CCReIDError, UsageError

from .console import Reporter
from .page import duration
from .wording import counted

if TYPE_CHECKING:
    from benchmarks.child import Outcome
    from benchmarks.records import RunFolder
    from benchmarks.resolve import Resolved

REDRAWS_PER_SECOND = 4
WIDE = 100
"""Columns of a terminal from which on there is room for a bar."""
BAR_COLUMNS, NARROW_COLUMNS = 22, 32
"""Of the bar; of everything beside a run's name in a narrow terminal."""


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
        print(f"{counted(len(plans), 'run')}: {len(plans) - len(missing)} finished, {len(missing)} to do")
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
        print(f"{len(failures)} of {counted(total, 'run')} failed; the same command tries them again.", file=sys.stderr)
    return next((code for code, _ in failures.values()), 0)


def _one_by_one(plans: "Sequence[Resolved]") -> Failures:
    failures: Failures = {}
    for number, plan in enumerate(plans, start=1):
        print(f"[{number}/{len(plans)}] {plan.run_id}")
        try:
            carry_out_here(plan)
        except StoppedError:
            raise
        except CCReIDError as error:
            failures[plan.run_id] = (error.exit_code, str(error))
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


def carry_out_for_a_parent() -> int:
    """The run that `benchmarks.child.Child` has sent to this process; the exit code."""
    from benchmarks.child import BUSY, received
    from benchmarks.records import BusyError

    try:
        carry_out_here(received())
    except BusyError:
        return BUSY
    return 0


def _side_by_side(plans: "Sequence[Resolved]", jobs: int) -> Failures:
    from benchmarks.child import places
    from benchmarks.launch import launch

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("jobs= starts processes of its own: leave either torchrun or jobs= out.")
    with Overview(quiet=plans[0].session.quiet) as overview:
        try:
            outcomes = launch(plans, places(jobs, plans[0].session.device), overview)
        except StoppedError:
            overview.close()
            tell_failures(overview.failures, len(plans))
            raise
    return {one.run_id: (max(one.exit_code, 1), one.reason) for one in outcomes if not one.succeeded}


def _print_results(plans: "Sequence[Resolved]") -> None:
    from benchmarks.run_states import judge

    folders = recorded(plans)
    reporter = Reporter()
    if reporter.leads and len(plans) == 1:
        for folder in folders:
            if judge(folder).counts:
                reporter.score_table(folder.scores(), folder.headline)
            print(folder.path)
    elif reporter.leads and (finished := [folder for folder in folders if judge(folder).counts]):
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
        self.failures: Failures = {}
        """Of those that have ended so far."""
        console = self.reporter.console
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            self._live = Live(console=console, refresh_per_second=REDRAWS_PER_SECOND, transient=True)
        self._said: set[str] = set()

    def __enter__(self) -> "Overview":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the live table off the screen."""
        if self._live:
            self._live.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        getattr(self, "on_" + event["event"].replace("-", "_"))(event)

    def on_job_start(self, event: Mapping[str, Any]) -> None:
        if not self._live:
            place = event["place"]
            self.reporter.say(f"{event['run']}: started on {place.device}, threads: {place.threads}")

    def on_job_end(self, event: Mapping[str, Any]) -> None:
        outcome: Outcome = event["outcome"]
        line = f"[{event['done']}/{event['total']}] {outcome.run_id}: {outcome.state}"
        line += f" after {duration(outcome.seconds)}" if outcome.seconds else ""
        line += f": {outcome.reason}" if outcome.reason else ""
        if outcome.state == "failed":
            self.failures[outcome.run_id] = (max(outcome.exit_code, 1), outcome.reason)
            self.reporter.console.print(line, markup=False, style="bold red")
        else:
            self.reporter.say(line)

    def on_jobs(self, event: Mapping[str, Any]) -> None:
        if not self._live:
            self._say_once(f"{counted(event['total'], 'run')}: {_counts(event)}", "jobs")
        if event["stopping"]:
            self._say_once(f"{event['stopping']}: waiting for checkpoints; once more kills", "stopping")
        if self._live:
            self._live.update(overview_table(event, self.reporter.console.width))

    def _say_once(self, text: str, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self.reporter.say(text)


def _counts(event: Mapping[str, Any]) -> str:
    """«3 done, 1 failed, 2 running, 4 waiting»; what is none is left out."""
    total, running, elsewhere = event["total"], len(event["running"]), event["elsewhere"]
    waiting = total - event["done"] - event["failed"] - running - elsewhere
    parts = {"done": event["done"], "failed": event["failed"], "running": running, "waiting": waiting}
    parts["run by another command"] = elsewhere
    return ", ".join(f"{number} {what}" for what, number in parts.items() if number) or "none"


def overview_table(event: Mapping[str, Any], width: int) -> Group:
    """How many runs are done, failed, to do; what runs, with its epoch; when everything will be over."""
    done = f"{event['done'] + event['failed']}/{event['total']}"
    eta = f" · about {duration(event['eta'])} left" if event["eta"] is not None else ""
    head = Text(f"{done} · {_counts(event)}{eta}", style="bold red" if event["failed"] else "bold", overflow="fold")
    rows = Table.grid(padding=(0, 2, 0, 0))
    room = width - NARROW_COLUMNS - (BAR_COLUMNS if width >= WIDE else 0)
    for run_id, one in event["running"].items():
        share = ProgressBar(total=max(one.epochs, 1), completed=one.epoch, width=BAR_COLUMNS - 2)
        left = f"{duration(one.left)} left" if one.left else ""
        cells = [_end_of(run_id, room), f"epoch {one.epoch}/{one.epochs}", duration(one.seconds)]
        rows.add_row(*cells, *([share, left, one.place.device] if width >= WIDE else []))
    return Group(head, rows)


def _end_of(run_id: str, columns: int) -> str:
    """The end tells runs apart."""
    return run_id if len(run_id) <= columns else f"…{run_id[-max(columns - 1, 1) :]}"
