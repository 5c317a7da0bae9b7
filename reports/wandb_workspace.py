"""What W&B shows of a store: a workspace per dataset, and a report with a section for each.

Workspaces and the report are definitions, built offline and tested; saving them needs W&B online. A workspace cannot
filter its runs by section, so each dataset has its own; a report can, so there is one.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.records import RunFolder, RunStore
from benchmarks.studies import Study
from datasets.errors import CCReIDError
from datasets.files import write_json

from .run_scalars import METRICS, points, score_prefix, state_of
from .wandb_client import LONGEST_TAG, Client, one_line, read_memory
from .wandb_tables import TABLES, dataset_of, datasets_of

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import Layout, Report
    from wandb_workspaces.workspaces import Workspace

STRIPS = ("retrieval/random", "retrieval/worst")
SYMBOLS = ("So", "Sk", "Sm", "Sc", "Cs")
WIDE = ("Tables", "Retrieval", "Sweep")
"""Sections whose panels need the whole width."""
REQUEST_SECONDS = 20
MISSING = "the package wandb-workspaces is missing: pip install wandb-workspaces."
NOT_SEARCHED = ("dataset.", "evaluate.", "select.", "seed")
"""Beginnings of keys that no sweep varies."""


# --- what there is to show ---


@dataclass(frozen=True)
class Overview:
    """One dataset's runs, as names of metrics."""

    dataset: str
    protocols: tuple[str, ...]
    """The headline first."""
    prefixes: tuple[str, ...]
    """Before a protocol in the summary: «» of the runs' results, others where runs were chosen on the test set."""
    curves: tuple[str, ...]
    """Names of everything that is logged per epoch."""
    searched: tuple[str, ...]
    """Keys of the configuration that vary within a method."""

    @property
    def target(self) -> str:
        """What a sweep is judged by."""
        found = [name for name in self.curves if name.endswith("/mAP")]
        return found[0] if found else f"{self.prefixes[0]}{self.protocols[0]}/mAP"


def overview(dataset: str, runs: Sequence[RunFolder]) -> Overview:
    """What the runs of one dataset have to show."""
    protocols = dict.fromkeys(one["name"] for run in runs for one in run.data().get("protocols", []))
    prefixes = dict.fromkeys(score_prefix(run.headline, run.headline) for run in runs)
    curves = sorted({name for run in runs for point in points(run.events()) for name in point.values})
    values: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        spec = run.spec()
        for key, value in _flat(spec):
            values.setdefault((spec["method"]["name"], key), set()).add(json.dumps(value))
    searched = {key for (_, key), found in values.items() if len(found) > 1 and not key.startswith(NOT_SEARCHED)}
    return Overview(dataset, tuple(protocols), tuple(prefixes), tuple(curves), tuple(sorted(searched)))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def overviews(runs: Iterable[RunFolder]) -> list[Overview]:
    runs = list(runs)
    return [overview(dataset, [run for run in runs if dataset_of(run) == dataset]) for dataset in datasets_of(runs)]


# --- definitions ---


def scores(shown: Overview) -> list[Any]:
    """A bar for each protocol and metric: mean over the seeds, standard deviation."""
    import wandb_workspaces.reports.v2.interface as wr

    return [
        wr.BarPlot(
            title=f"{prefix}{protocol} {metric}",
            metrics=[wr.SummaryMetric(f"{prefix}{protocol}/{metric}")],
            orientation="h",
            groupby="Group",
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
        for prefix in shown.prefixes
        for protocol in shown.protocols
        for metric in ("mAP", "R1")
    ]


def curves(shown: Overview) -> list[Any]:
    """A plot for each thing logged per epoch: mean over the seeds, standard deviation; validation first, speed last."""
    import wandb_workspaces.reports.v2.interface as wr

    def place(name: str) -> int:
        of_selection = name.rpartition("/")[2] in METRICS
        return [of_selection, name.startswith("loss/"), name.startswith("gradient_share/"), True].index(True)

    return [
        wr.LinePlot(
            title=name,
            x="epoch",
            y=[name],
            groupby="Group",
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
        for name in sorted(shown.curves, key=place)
    ]


def sweep(shown: Overview) -> list[Any]:
    """What a sweep varied against what it reached; nothing where nothing varies."""
    import wandb_workspaces.reports.v2.interface as wr

    if not shown.searched:
        return []
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in shown.searched]
    reached = wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(shown.target))
    return [
        wr.ParallelCoordinatesPlot(title=f"{shown.target} by configuration", columns=[*columns, reached]),
        wr.ParameterImportancePlot(with_respect_to=shown.target),
    ]


def media(title: str, *keys: str) -> list[Any]:
    import wandb_workspaces.reports.v2.interface as wr

    return [wr.MediaBrowser(title=title, media_keys=[key], num_columns=1) for key in keys]


def sections(shown: Overview) -> dict[str, list[Any]]:
    """Heading → panels; a heading without panels is left out."""
    panels = {
        "Tables": media("Mean ± standard deviation over seeds", TABLES),
        "Scores": scores(shown),
        "Retrieval": media("Query, then its ten nearest gallery images", *STRIPS),
        "Curves": curves(shown),
        "Sweep": sweep(shown),
    }
    return {heading: found for heading, found in panels.items() if found}


def its_runs(tag: str) -> dict[str, Any]:
    """What chooses the runs of a dataset or a sweep: its tag, or, where wandb-workspaces cannot spell it, a search."""
    if re.fullmatch(r"[\w. +:-]+", tag):
        return {"filters": f"Tags in ['{tag[:LONGEST_TAG]}']"}
    return {"query": tag}


def plain_name(name: str) -> str:
    """Without symbols, such as «<», which are refused in a workspace's name."""
    return "".join("-" if unicodedata.category(one) in SYMBOLS else one for one in name)


def workspace(shown: Overview, project: str, entity: str) -> "Workspace":
    """One dataset's view of a project. Raises ImportError without wandb-workspaces."""
    import wandb_workspaces.workspaces as ws

    return ws.Workspace(
        entity=entity,
        project=project,
        name=plain_name(shown.dataset),
        sections=[
            ws.Section(
                name=heading,
                panels=panels,
                is_open=heading != "Curves",
                layout_settings=ws.SectionLayoutSettings(columns=1 if heading in WIDE else 3, rows=2),
            )
            for heading, panels in sections(shown).items()
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=50),
        runset_settings=ws.RunsetSettings(
            **its_runs(shown.dataset),
            groupby=[ws.Metric("Group")],
            pinned_columns=[f"summary:{shown.prefixes[0]}{shown.protocols[0]}/{metric}" for metric in ("mAP", "R1")]
            + ["summary:status"],
        ),
    )


def report(shown: Sequence[Overview], project: str, entity: str, studies: Sequence[Study] = ()) -> "Report":
    """All datasets, one after the other, each with its own runs, then the sweeps. Raises ImportError as above."""
    import wandb_workspaces.reports.v2.interface as wr

    from .wandb_sweeps import study_blocks

    blocks: list[Any] = [wr.TableOfContents()]
    for one in shown:
        runs = wr.Runset(entity=entity, project=project, name=one.dataset, groupby=["Group"], **its_runs(one.dataset))
        blocks.append(wr.H1(one.dataset))
        for heading, panels in sections(one).items():
            wide = heading in WIDE
            for number, panel in enumerate(panels):  # where nothing is said, a report lays panels over each other
                panel.layout = wr.Layout(0, 12 * number, 24, 12) if wide else _place(number)
            blocks += [wr.H2(heading), wr.PanelGrid(runsets=[runs], panels=panels)]
    blocks += [block for study in studies for block in study_blocks(study, project, entity)]
    named = dict.fromkeys([*(one.dataset for one in shown), *(study.dataset for study in studies)])
    title = f"Clothes-changing re-identification: {', '.join(named)}"
    return wr.Report(project=project, entity=entity, title=title[:128], blocks=blocks, width="fluid")


def _place(number: int) -> "Layout":
    """Three panels beside each other, in units of a 24th of a report's width."""
    import wandb_workspaces.reports.v2.interface as wr

    return wr.Layout(8 * (number % 3), 6 * (number // 3), 8, 6)


# --- saving them ---


def publish(runs: Sequence[RunFolder], client: Client, studies: Sequence[Study] = ()) -> None:
    """Save the workspaces and the report of the store that `runs` are of, over those saved before; say where."""
    if not runs:
        return
    try:
        import wandb
        import wandb_workspaces.workspaces  # noqa: F401 (is it there?)
    except ImportError:
        client.say(f"No workspace and no report: {MISSING}")
        return
    from .studies.roles import tag_of
    from .wandb_sweeps import study_workspace

    target = client.target
    known = read_memory(client, "published.json")
    try:
        entity = target.entity or str(wandb.Api(timeout=REQUEST_SECONDS).default_entity)
        place = f"{entity}/{target.project}"
        shown = overviews(run for run in RunStore(runs[0].path.parent) if state_of(run) == "done")
        views = {one.dataset: workspace(one, target.project, entity) for one in shown}
        views |= {tag_of(one.name): study_workspace(one, target.project, entity) for one in studies}
        for name, view in views.items():
            view._internal_name, view._internal_id = known.get(f"{place}/{name}", ("", ""))
            view.save()
            known[f"{place}/{name}"] = (view._internal_name, view._internal_id)
            client.say(f"{name}: workspace {view.url}")
        written = report(shown, target.project, entity, studies)
        written.id = known.get(place, "")
        written.save()
        known[place] = written.id
        client.say(f"report {written.url}")
    except CCReIDError as error:
        client.say(f"No workspace and no report: {error}")
    except Exception as error:  # of the server or the package, whose types are many
        client.say(f"W&B did not take the workspace or the report: {one_line(error)}.")
    write_json(target.root / "published.json", known)
