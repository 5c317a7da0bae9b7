"""What W&B shows of a study's trials: parallel coordinates, importance, courses, and the mirrored tables and figures.

A workspace of its own, since trials must not be grouped, and a section of the report.
"""

from typing import TYPE_CHECKING, Any

from benchmarks.studies import Study

from .studies.everything import FIGURES
from .studies.roles import tag_of
from .wandb_studies import FIGURE, TABLES
from .wandb_workspace import its_runs, media, plain_name

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

REACHED = "validation/mAP"
"""What a trial's run says of its held-out identities: the summary's is that of its chosen epoch."""


def sections(study: Study) -> dict[str, list[Any]]:
    """Heading → panels."""
    import wandb_workspaces.reports.v2.interface as wr

    keys = [wr.ParallelCoordinatesPlotColumn(wr.Config(key.key)) for key in study.space]
    reached = wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(REACHED))
    return {
        "Sweep": [
            wr.ParallelCoordinatesPlot(title=f"{REACHED} by configuration", columns=[*keys, reached]),
            wr.ParameterImportancePlot(with_respect_to=REACHED),
        ],
        "Courses": [wr.LinePlot(title=REACHED, x="epoch", y=[REACHED])],
        "Study": media("Tables and figures of the study", TABLES, *figure_keys()),
    }


def figure_keys() -> list[str]:
    """Names under which figures are logged."""
    names = {"parallel_coordinates": "parallel", "pareto_front": "pareto"}
    return [FIGURE.format(names.get(make.__name__, make.__name__)) for make in FIGURES]


def study_workspace(study: Study, project: str, entity: str) -> "Workspace":
    """Raises ImportError without wandb-workspaces."""
    import wandb_workspaces.workspaces as ws

    return ws.Workspace(
        entity=entity,
        project=project,
        name=plain_name(f"sweep {study.name}"),
        sections=[
            ws.Section(
                name=heading,
                panels=panels,
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(columns=1, rows=2),
            )
            for heading, panels in sections(study).items()
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=500),
        runset_settings=ws.RunsetSettings(**its_runs(tag_of(study.name))),
    )


def study_blocks(study: Study, project: str, entity: str) -> list[Any]:
    """A heading and its panels, for the report."""
    import wandb_workspaces.reports.v2.interface as wr

    runs = wr.Runset(entity=entity, project=project, name=study.name, **its_runs(tag_of(study.name)))
    blocks: list[Any] = [wr.H1(f"Sweep {study.name}")]
    for heading, panels in sections(study).items():
        for number, panel in enumerate(panels):
            panel.layout = wr.Layout(0, 12 * number, 24, 12)
        blocks += [wr.H2(heading), wr.PanelGrid(runsets=[runs], panels=panels)]
    return blocks
