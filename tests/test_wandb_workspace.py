"""Workspaces and the report as definitions: which runs and metrics they name. Saving them needs an account."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from benchmarks.records import RunFolder
from datasets.files import write_json
from reports.figures.style import Picture
from reports.studies.everything import figures_of_study
from reports.wandb_client import Client, Target
from reports.wandb_studies import FIGURE
from reports.wandb_sweeps import figure_keys, study_workspace
from reports.wandb_workspace import Overview, overview, overviews, publish, report, workspace
from tests.study_examples import differ_on_ltcc, two_objectives

SHOWN = Overview(
    dataset="a-set",
    protocols=("cloth-changing", "standard"),
    prefixes=("", "oracle †/"),
    curves=("gradient_share/triplet", "loss/total", "lr", "validation/mAP", "speed/waiting_share"),
    searched=("method.weights.triplet",),
)


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path) -> Iterator[None]:
    with mock.patch.dict(os.environ):
        os.environ |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_MODE": "offline"}
        yield


def written(store: Path, seed: int, *, triplet: float = 1.0, method: str = "differ", rule: str = "last") -> RunFolder:
    run = RunFolder(store / f"synthetic-{method}-{int(triplet * 10):08x}-s{seed}")
    weights = {"triplet": triplet, "identity": 1.0}
    spec = {"method": {"name": method, "weights": weights}, "dataset": {"name": "synthetic"}, "seed": seed}
    write_json(run.path / "spec.yaml", spec)
    write_json(run.path / "data.json", {"selection": rule, "protocols": [{"name": "cloth-changing"}]})
    epoch = {"epoch": 1, "loss": 1.0, "lr": 0.1, "terms": {f"of_{method}": 1.0}, "gradient_share": {}}
    run.append({"event": "epoch", **epoch})
    run.set_status("done")
    return run


def test_an_overview_names_what_the_runs_have(tmp_path: Path) -> None:
    runs = [written(tmp_path, 0), written(tmp_path, 1), written(tmp_path, 0, method="ifd", rule="oracle")]
    found = overview("synthetic", runs)
    assert found.protocols == ("cloth-changing",)
    assert found.prefixes == ("", "oracle †/")
    assert {"loss/total", "loss/of_differ", "loss/of_ifd", "lr"} <= set(found.curves)
    assert found.searched == (), "seeds and methods are not what a sweep varies"
    assert found.target == "cloth-changing/mAP"
    assert [one.dataset for one in overviews(runs)] == ["synthetic"]


def test_what_varies_within_a_method_is_a_sweep(tmp_path: Path) -> None:
    runs = [written(tmp_path, 0), written(tmp_path, 0, triplet=0.5)]
    assert overview("synthetic", runs).searched == ("method.weights.triplet",)


def test_a_workspace_shows_one_dataset_by_group_with_a_section_for_each_kind() -> None:
    pytest.importorskip("wandb_workspaces")
    model = workspace(SHOWN, "project", "entity")._to_model().model_dump(by_alias=True, exclude_none=True)
    section = model["spec"]["section"]
    (runs,) = section["runSets"]
    (only,) = runs["filters"]["filters"]
    assert (only["key"]["name"], only["op"], only["value"]) == ("tags", "IN", [SHOWN.dataset])
    assert runs["grouping"] == [{"section": "run", "name": "group"}]
    assert section["settings"]["xAxis"] == "epoch"
    found = {one["name"]: one["panels"] for one in section["panelBankConfig"]["sections"]}
    assert list(found) == ["Tables", "Scores", "Retrieval", "Curves", "Sweep"]
    assert [panel["config"]["mediaKeys"] for panel in found["Tables"] + found["Retrieval"]] == [
        ["tables"],
        ["retrieval/random"],
        ["retrieval/worst"],
    ]
    bars = {panel["config"]["metrics"][0] for panel in found["Scores"]}
    assert {"summary_metrics.cloth-changing/mAP", "summary_metrics.oracle †/standard/R1"} <= bars
    lines = [panel["config"] for panel in found["Curves"]]
    assert [line["metrics"][0] for line in lines] == [
        "validation/mAP",
        "loss/total",
        "gradient_share/triplet",
        "lr",
        "speed/waiting_share",
    ]
    spread = {(line["xAxis"], line["groupBy"], line["groupAgg"], line["groupArea"]) for line in lines}
    assert spread == {("epoch", "group", "mean", "stddev")}
    coordinates, importance = found["Sweep"]
    assert [column["accessor"] for column in coordinates["config"]["columns"]] == [
        "config:method.value.weights.triplet",
        "summary:validation/mAP",
    ]
    assert importance["config"]["targetKey"] == "validation/mAP"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("it's <b>a</b> set", "it's -b-a-/b- set"),
        ("a'] or Tags in ['b", "a'] or Tags in ['b"),
        ("データ", "データ"),
    ],
)
def test_a_dataset_of_any_name_chooses_its_runs(name: str, title: str) -> None:
    """wandb-workspaces reads filters as code and escapes nothing."""
    pytest.importorskip("wandb_workspaces")
    shown = Overview(name, ("standard",), ("",), ("loss/total",), ())
    model = workspace(shown, "p", "e")._to_model().model_dump(by_alias=True, exclude_none=True)
    (runs,) = model["spec"]["section"]["runSets"]
    assert model["displayName"] == title
    tags = [one["value"] for one in runs["filters"].get("filters", [])]
    assert (tags, runs["search"]["query"]) in (([[name]], ""), ([], name))


def test_without_a_sweep_there_are_no_panels_of_one() -> None:
    pytest.importorskip("wandb_workspaces")
    calm = Overview("x", ("standard",), ("",), ("loss/total",), ())
    assert "Sweep" not in [section.name for section in workspace(calm, "p", "e").sections]


def test_a_report_has_a_section_for_each_dataset_and_no_panel_over_another(monkeypatch: pytest.MonkeyPatch) -> None:
    interface = pytest.importorskip("wandb_workspaces.reports.v2.interface")
    monkeypatch.setattr(interface, "_get_api", lambda: None)
    monkeypatch.setattr(interface, "execute_graphql", lambda *_: {"project": {"internalId": "7"}})
    other = Overview("other", ("standard",), ("",), ("loss/total",), ())
    model = report([SHOWN, other], "project", "entity")._to_model().model_dump(by_alias=True, exclude_none=True)
    blocks = model["spec"]["blocks"]
    headings = [block["children"][0]["text"] for block in blocks if block.get("level") == 1]
    assert headings == [SHOWN.dataset, "other"]
    grids = [block["metadata"] for block in blocks if block["type"] == "panel-grid"]
    assert len(grids) == 5 + 4
    tagged = [grid["runSets"][0]["filters"]["filters"][0]["value"] for grid in grids]
    assert tagged == [[SHOWN.dataset]] * 5 + [["other"]] * 4
    for grid in grids:
        taken: set[tuple[int, int]] = set()
        for panel in grid["panelBankSectionConfig"]["panels"]:
            place = panel["layout"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < 24
            taken |= cells


def test_a_study_has_a_workspace_of_its_trials_ungrouped_and_a_section_of_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Grouped, all trials would be one line of the parallel coordinates."""
    interface = pytest.importorskip("wandb_workspaces.reports.v2.interface")
    monkeypatch.setattr(interface, "_get_api", lambda: None)
    monkeypatch.setattr(interface, "execute_graphql", lambda *_: {"project": {"internalId": "7"}})
    study = differ_on_ltcc()
    model = study_workspace(study, "project", "entity")._to_model().model_dump(by_alias=True, exclude_none=True)
    (runs,) = model["spec"]["section"]["runSets"]
    assert [one["value"] for one in runs["filters"]["filters"]] == [["sweep:ltcc-differ-weights"]]
    assert not runs.get("grouping")
    found = {one["name"]: one["panels"] for one in model["spec"]["section"]["panelBankConfig"]["sections"]}
    coordinates, importance = found["Sweep"]
    columns = [column["accessor"] for column in coordinates["config"]["columns"]]
    assert columns[0] == "config:method.value.weights.identity"
    assert columns[-1] == "summary:validation/mAP"
    assert importance["config"]["targetKey"] == "validation/mAP"
    written = report([SHOWN], "project", "entity", [study])._to_model().model_dump(by_alias=True, exclude_none=True)
    headings = [one["children"][0]["text"] for one in written["spec"]["blocks"] if one.get("level") == 1]
    assert headings == [SHOWN.dataset, "Sweep ltcc-differ-weights"]


def test_figures_are_looked_for_under_the_names_that_they_are_logged_as(tmp_path: Path) -> None:
    names = {
        FIGURE.format(one.name) for one in figures_of_study(two_objectives(), tmp_path) if isinstance(one, Picture)
    }
    assert names <= set(figure_keys())
    assert FIGURE.format("confirmation") in figure_keys()


def test_without_the_package_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    said: list[str] = []
    publish([written(tmp_path, 0)], Client(Target(tmp_path / ".wandb", "offline"), said.append))
    assert said == [
        "No workspace and no report: the package wandb-workspaces is missing: pip install wandb-workspaces."
    ]


def test_what_was_saved_is_saved_over_and_not_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call would otherwise leave another workspace and another report on the server."""
    pytest.importorskip("wandb_workspaces")
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.reports.v2 import interface as wr

    saved: list[tuple[str, str]] = []

    def save_view(self: Any) -> None:
        saved.append(("workspace", self._internal_id))
        self._internal_name, self._internal_id = "nw-a", "view-1"

    def save_report(self: Any) -> None:
        saved.append(("report", self.id))
        self.id = "report-1"

    monkeypatch.setattr(ws.Workspace, "save", save_view)
    monkeypatch.setattr(ws.Workspace, "url", "address of the workspace")
    monkeypatch.setattr(wr.Report, "save", save_report)
    monkeypatch.setattr(wr.Report, "url", "address of the report")
    said: list[str] = []
    client = Client(Target(tmp_path / ".wandb", "offline", "project", "entity"), said.append)
    run = written(tmp_path, 0)
    publish([run], client)
    publish([run], client)
    assert saved == [("workspace", ""), ("report", ""), ("workspace", "view-1"), ("report", "report-1")]
    assert said[:2] == ["synthetic: workspace address of the workspace", "report address of the report"]
    assert set(json.loads((tmp_path / ".wandb" / "published.json").read_text())) == {
        "entity/project",
        "entity/project/synthetic",
    }


def test_a_server_that_refuses_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb_workspaces")
    import wandb_workspaces.workspaces as ws

    def refuse(self: Any) -> None:
        raise ValueError("permission denied")

    monkeypatch.setattr(ws.Workspace, "save", refuse)
    said: list[str] = []
    publish([written(tmp_path, 0)], Client(Target(tmp_path / ".wandb", "offline", "p", "e"), said.append))
    assert said == ["W&B did not take the workspace or the report: permission denied."]
