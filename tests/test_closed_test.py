"""Runs whose test split stays closed: what tunes cannot look there, and the way back to an ordinary run."""

from pathlib import Path

import numpy as np
import pytest

import run
from benchmarks.closed_test import TestSplitClosedError, without_test
from benchmarks.data import ExperimentData, open_dataset
from benchmarks.records import RunFolder, RunStore
from benchmarks.resolve import resolve
from benchmarks.splits import Splits
from benchmarks.words import parse_words
from datasets import DATASETS
from methods import METHODS
from reports.choosing import chosen_runs
from tests.test_experiment import only_run

WORLD = ("dataset.people=50", "dataset.test_people=4", "dataset.wardrobe=30")


def words(tiny: list[str], *more: str) -> list[str]:
    own = {word.partition("=")[0] for word in (*WORLD, *more)}
    return [*(word for word in tiny if word.partition("=")[0] not in own), *WORLD, *more, "quiet=true"]


@pytest.mark.parametrize("name", DATASETS.entries)
def test_every_adapter_has_no_labels_but_those_of_training_and_validation(name: str, tmp_path: Path) -> None:
    adapter = DATASETS.get(name)
    folder = tmp_path / (adapter.folder or "none")
    folder.mkdir()
    closed = without_test(adapter)(folder)
    validation = closed.validation()
    tested = {split for one in closed.protocols() for split in (one.query, one.gallery)}
    assert tested - {validation.query, validation.gallery, "train"} == tested, "a validation split is tested, too"
    for split in {*tested, *set(adapter.splits) - {"train", validation.query, validation.gallery}}:
        with pytest.raises(TestSplitClosedError, match=split):
            closed.split(split)
        with pytest.raises(TestSplitClosedError):
            Splits(closed).samples(split)


def test_an_experiment_that_leaves_the_test_closed_reads_no_label_of_it(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It trains and validates to the end on an adapter that has no test split at all, and keeps nothing of one."""
    adapter = DATASETS.get("synthetic")
    whole = adapter.split

    def only_training(self: object, name: str) -> object:
        assert name == "train", f"labels of {name} were read"
        return whole(self, name)

    monkeypatch.setattr(adapter, "split", only_training)
    command = words(tiny, "test=false")
    assert run.main(command) == 0
    made = only_run(command)
    assert made.status()["state"] == "trained"
    assert made.status()["test"] is False
    assert len(made.events("validation")) == 2
    assert made.events("scores") == []
    assert not (made.path / "rankings").exists()
    assert not (made.path / "splits").exists()
    assert list(made.data()["splits"]) == ["train"]


def test_the_same_command_with_the_test_open_goes_on_to_the_scores_of_an_ordinary_run(
    tiny: list[str], tmp_path: Path
) -> None:
    """Weights, scores and evidence are those of a run that was never closed, the initial weights' scores too."""
    command = words(tiny, "evaluate.initial=true")
    assert run.main([*command, "test=false"]) == 0
    closed = only_run(command)
    trained = (closed.path / "checkpoints" / "last.pt").stat().st_mtime_ns
    assert run.main([*command, "test=false"]) == 0, "said again: nothing to do"
    assert run.main(command) == 0
    assert closed.status()["state"] == "done"
    assert "test" not in closed.status()
    assert (closed.path / "checkpoints" / "last.pt").stat().st_mtime_ns == trained, "nothing was trained again"
    other = [f"runs={tmp_path / 'other'}" if word.startswith("runs=") else word for word in command]
    assert run.main(other) == 0
    straight = only_run(other)
    assert closed.run_id == straight.run_id
    assert _scores(closed) == _scores(straight)
    assert {row["selection"] for row in closed.scores()} == {"initial", "last", "validation"}
    assert closed.data() == straight.data()


def _scores(folder: RunFolder) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "time"} for row in folder.scores()]


def test_a_run_whose_test_was_open_may_go_on_closed_without_losing_what_it_knew(tiny: list[str]) -> None:
    command = words(tiny)
    assert run.main(command) == 0
    folder, before = only_run(command), only_run(command).data()
    assert run.main([*command, "test=false"]) == 0
    assert folder.status()["state"] == "done", "a finished run stays finished"
    assert folder.data() == before


def test_validation_scores_every_reported_convention_between_the_same_images(tiny: list[str]) -> None:
    """What several objectives are read from; the one that selects stays as it was."""
    resolved = resolve(parse_words(words(tiny, "test=false")))
    dataset = open_dataset(resolved.spec.dataset, resolved.session)
    data = ExperimentData(dataset, resolved.spec, resolved.session, lambda event: None)
    assert data.rule == "validation"
    assert [one.name for one in data.other_validations] == ["standard", "same-clothes"]
    assert {(one.query, one.gallery) for one in data.other_validations} == {
        (data.validation.query, data.validation.gallery)
    }
    command = words(tiny, "test=false")
    assert run.main(command) == 0
    for event in only_run(command).events("validation"):
        assert event["others"].keys() == {"standard", "same-clothes"}
        assert event["others"]["standard"]["mAP"] != event["mAP"]


def test_reports_leave_closed_runs_out_unless_they_are_named(tiny: list[str]) -> None:
    command = words(tiny, "test=false", "seed=0,1")
    assert run.main(command) == 0
    assert run.main([word for word in command if word != "test=false" and not word.startswith("seed=")]) == 0
    place = next(word.partition("=")[2] for word in command if word.startswith("runs="))
    tested = {folder.run_id: folder.status()["state"] for folder in chosen_runs({"runs": place})}
    assert list(tested.values()) == ["done"]
    other = next(folder for folder in RunStore(Path(place)) if folder.run_id not in tested)
    assert [folder.run_id for folder in chosen_runs({"runs": place, "run": other.run_id})] == [other.run_id]


@pytest.mark.parametrize(
    ("method", "changes", "epoch"),
    [
        ("differ", {}, 1),
        ("baseline", {}, 1),
        ("cal", {"method.clothes_start": 4, "method.adversarial_start": 7}, 8),
        ("cal", {"method.weights.adversarial": 0.0, "method.weights.clothes": 0.0}, 1),
        ("cssc", {"method.triplet_start": 31}, 31),
        ("fire", {"method.identity_epochs": 3}, 4),
        ("ifd", {"method.attention_epochs": 5}, 6),
    ],
)
def test_a_method_tells_from_which_epoch_on_all_its_terms_are_on(method: str, changes: dict, epoch: int) -> None:
    config = resolve({"method.name": method, "dataset.name": "synthetic"} | changes).spec.method
    assert METHODS.get(method).complete_from(config) == epoch


def test_numbers_do_not_depend_on_whether_the_test_is_open(tiny: list[str], tmp_path: Path) -> None:
    """Validation, from which a sweep learns, sees the same either way."""
    courses = []
    for number, more in enumerate(("test=false", "test=true")):
        command = words(tiny, more)
        command = [f"runs={tmp_path / str(number)}" if word.startswith("runs=") else word for word in command]
        assert run.main(command) == 0
        courses.append([event["mAP"] for event in only_run(command).events("validation")])
    assert np.array_equal(*courses)
