"""What a run says while it is running: a live bar on a terminal, one plain line per epoch in a pipe."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.selection import INITIAL, marked

if TYPE_CHECKING:
    from benchmarks.records import RunFolder

    from .tables import Table as ResultTable

PIPE_WIDTH, WIDEST_TABLE = 140, 400


class Reporter:
    """Hears a run's events and prints them. Not a listener of anything else: files are the run folder's business."""

    def __init__(self, *, quiet: bool = False):
        terminal = sys.stdout.isatty()
        self.console = Console(highlight=False, soft_wrap=not terminal, width=None if terminal else PIPE_WIDTH)
        self.leads = os.environ.get("RANK", "0") == "0"
        """False in the processes of a distributed run that stay silent."""
        self.quiet = quiet = quiet or not self.leads
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=self.console,
            disable=quiet or not terminal,
            transient=True,
        )
        self._task: Any = None
        self._steps = self._epochs = 0
        self._validation = ""

    def __enter__(self) -> "Reporter":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        getattr(self, "on_" + event["event"].replace("-", "_"))(event)

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, markup=False)

    # --- events ---

    def on_start(self, event: Mapping[str, Any]) -> None:
        self.say(
            f"{event['run']}: {event['persons']} identities, {event['parameters'] / 1e6:.1f} M parameters, "
            f"{event['images_per_step']} images a step, selection {marked(event['rule'])}, {event['device']}"
            + (f" × {event['processes']}" if event["processes"] > 1 else "")
        )

    def on_warning(self, event: Mapping[str, Any]) -> None:
        self.console.print(f"warning: {event['message']}", markup=False)

    def on_note(self, event: Mapping[str, Any]) -> None:
        self.say(event["message"])

    def on_already_done(self, event: Mapping[str, Any]) -> None:
        self.say(f"{event['run']} is finished; nothing to do.")

    def on_resume(self, event: Mapping[str, Any]) -> None:
        self.say(f"going on in epoch {event['epoch']} after {event['step']} steps")

    def on_progress(self, event: Mapping[str, Any]) -> None:
        self._show(event["what"], event["done"], event["total"], "")
        if event["done"] == event["total"] and self.progress.disable:
            self.say(f"{event['what']}: {event['total']} images")

    def on_epoch_start(self, event: Mapping[str, Any]) -> None:
        self._steps, self._epochs = event["steps"], event["epochs"]

    def on_step(self, event: Mapping[str, Any]) -> None:
        """The bar counts the steps of the whole training, so that the time left is that of the run."""
        meter = event["meter"]
        losses = " ".join(f"{name} {value:.3f}" for name, value in meter.means().items())
        speed, waiting = (part / meter.seconds if meter.seconds else 0.0 for part in (meter.images, meter.waiting))
        detail = f"epoch {event['epoch']}/{self._epochs}{self._validation} · {losses} · {speed:.0f} images/s"
        done = (event["epoch"] - 1) * self._steps + event["step"]
        self._show("training", done, self._epochs * self._steps, f"{detail} · waiting {waiting:.0%}")

    def on_epoch(self, event: Mapping[str, Any]) -> None:
        losses = " ".join(f"{name} {value:.3f}" for name, value in event["terms"].items())
        shares = " ".join(f"{name} {value:.0%}" for name, value in event["gradient_share"].items())
        parts = [
            f"epoch {event['epoch']:3d}",
            f"loss {event['loss']:.3f}",
            losses,
            f"lr {event['lr']:.2e}",
            f"{event['seconds']:.1f} s",
            f"{event['images_per_second']:.0f} images/s",
            f"waiting {event['waiting']:.0%}",
        ]
        if event["peak_memory"]:
            parts.append(f"{event['peak_memory'] / 2**30:.1f} GiB")
        if shares:
            parts.append(f"gradient {shares}")
        self.say(" · ".join(parts))

    def on_validation(self, event: Mapping[str, Any]) -> None:
        self._validation = f" · {_validation_text(event)}"
        self.say(f"          {_validation_text(event)}" + (" (best so far)" if event["best"] else ""))

    def on_diverged(self, event: Mapping[str, Any]) -> None:
        """The error that follows says it all."""

    def on_scores(self, event: Mapping[str, Any]) -> None:
        self.say(f"{marked(event['selection'])} · {event['protocol']} · mAP {percent(event['mAP'])}")

    def _show(self, description: str, done: int, total: int, detail: str) -> None:
        if self._task is None or self.progress.tasks[-1].description != description:
            for task in self.progress.task_ids:
                self.progress.remove_task(task)
            self._task = self.progress.add_task(description, total=total, detail=detail)
        self.progress.update(self._task, completed=done, total=total, detail=detail)

    # --- tables ---

    def score_table(self, rows: Iterable[Mapping[str, Any]], headline: str) -> None:
        """One row per protocol and selection. Scores in percent; the headline selection last."""
        rows = list(rows)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("protocol", "selection"):
            table.add_column(column)
        for column in ("epoch", "mAP", "R1", "R5", "R10", "mINP", "queries"):
            table.add_column(column, justify="right")
        for row in sorted(rows, key=lambda row: row["selection"] == headline):
            table.add_row(
                row["protocol"],
                marked(row["selection"]),
                str(row["epoch"]),
                *[percent(row[name]) for name in ("mAP", "R1", "R5", "R10", "mINP")],
                str(row["queries"]),
                style="bold" if row["selection"] == headline else "",
            )
        self.console.print(table)
        for line in gains(rows, headline):
            self.console.print(line, markup=False)

    def summary(self, runs: Sequence["RunFolder"]) -> None:
        """Several runs beside each other: the seeds of a configuration in one row, a table for each protocol."""
        from benchmarks.comparison import rows_of

        from .tables import DIFFERENCES, result_tables

        self.tables(result_tables(rows_of(runs), kinds=(DIFFERENCES,)))

    def tables(self, tables: "Iterable[ResultTable]") -> None:
        """On a terminal as wide as it is; in a pipe as wide as the tables are."""
        from .tables import to_console

        console = self.console if self.console.is_terminal else Console(highlight=False, width=WIDEST_TABLE)
        for table in tables:
            console.print()
            console.print(to_console(table))

    def evaluation_table(self, rows: Sequence[Mapping[str, Any]], options: str = "") -> None:
        """One row per protocol and change of the `options`; differences, in points, are to the first row."""
        changed = any(row["options"] for row in rows)
        if options:
            self.console.print(options, markup=False)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("protocol", *["options"] * changed):
            table.add_column(column)
        for column in ("mAP", "Δ", "R1", "Δ", "R5", "R10", "mINP", "queries"):
            table.add_column(column, justify="right")
        for number, row in enumerate(rows):
            cells = {name: percent(row[name]) for name in ("mAP", "R1", "R5", "R10", "mINP")}
            moved = [_difference(row[name], rows[0][name]) if number else "" for name in ("mAP", "R1")]
            table.add_row(
                row["protocol"],
                *[row["options"]] * changed,
                *[cells["mAP"], moved[0], cells["R1"], moved[1], cells["R5"], cells["R10"], cells["mINP"]],
                str(row["queries"]),
                style="" if number else "bold",
            )
        self.console.print(table)


def _difference(score: float, other: float) -> str:
    """In points, with its sign; «–» where one of the scores is missing."""
    return "–" if score != score or other != other else f"{100 * (score - other):+.1f}"


def _validation_text(event: Mapping[str, Any]) -> str:
    return f"{marked(event['rule'])} mAP {percent(event['mAP'])} R1 {percent(event['R1'])}"


def percent(score: float | None) -> str:
    """A score between 0 and 1 as percent with one decimal; «–» where no query had a valid match."""
    return "–" if score is None or score != score else f"{100 * score:.1f}"


def gains(rows: Iterable[Mapping[str, Any]], headline: str) -> Iterable[str]:
    """Sentences that compare the headline with the initial weights and the protocols with each other."""
    at = {(row["selection"], row["protocol"]): row["mAP"] for row in rows}
    for (selection, protocol), score in at.items():
        initial = at.get((INITIAL, protocol))
        if selection == headline and initial:
            times = f"{score / initial:.1f} × the initial weights' {percent(initial)}"
            yield f"{protocol} mAP: {percent(score)} is {times}."
    standard, changing = at.get((headline, "standard")), at.get((headline, "cloth-changing"))
    if standard and changing:
        yield f"standard mAP is {standard / changing:.1f} × cloth-changing mAP."
