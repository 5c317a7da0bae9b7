"""Every layout goes the whole way by the same commands: written, checked, trained on, scored under every protocol."""

from pathlib import Path

import numpy as np
import pytest
import torch

import run
from benchmarks.distribution import World
from benchmarks.feed import TrainingData, TrainingFeed
from benchmarks.records import RunStore
from benchmarks.resolve import resolve
from datasets import DATASETS
from datasets.base import Samples
from datasets.clips import pieces
from datasets.layouts import LAYOUTS

WORLD = ["people=8", "test_people=4", "cameras=4", "tracklets=1", "frames=4", "height=64"]
SMALL = [
    "method=baseline",
    "method.backbone=resnet18",
    "method.pretrained=false",
    "image.height=32",
    "image.width=16",
    "augment.pad_crop=2",
    "sampler.batch_size=8",
    "sampler.instances=4",
    "train.epochs=1",
    "device=cpu",
    "quiet=true",
]


def test_every_dataset_with_files_has_a_layout() -> None:
    assert {name for name in DATASETS.entries if DATASETS.get(name).folder} == set(LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_synthesized_tree_is_checked_trained_on_and_audited(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data, runs = tmp_path / "data", tmp_path / "runs"
    places = [f"data={data}", f"runs={runs}", f"cache={tmp_path / 'cache'}"]
    assert run.main(["synthesize", f"layout={layout}", f"out={data}", *WORLD]) == 0
    assert run.main(["check", f"dataset={layout}", f"data={data}"]) == 0, capsys.readouterr().out
    assert run.main([*SMALL, f"dataset={layout}", *places]) == 0
    (folder,) = RunStore(runs)
    reported = [protocol.name for protocol in DATASETS.get(layout)(data).protocols() if protocol.reported]
    scored = [row for row in folder.scores() if row["selection"] == folder.headline]
    assert [row["protocol"] for row in scored] == reported
    assert all(0 < row["mAP"] <= 1 for row in scored)
    assert folder.data()["differences"] == []

    capsys.readouterr()
    assert run.main(["evaluate", f"run={folder.run_id}", "protocols=all", "device=cpu", *places]) == 0
    printed = capsys.readouterr().out
    for protocol in DATASETS.get(layout)(data).protocols():
        assert f" {protocol.name} " in printed
    for options in ("with flip", "not normalised, euclidean", "re-ranked"):
        assert options in printed


def test_of_a_piece_of_a_tracklet_another_frame_is_taken_each_time() -> None:
    """A batch holds pieces; which frame stands for one changes with the epoch, and never leaves the piece."""
    words = ["image.height=16", "image.width=16", "sampler.batch_size=4", "sampler.instances=2"]
    values = dict(word.split("=") for word in words)
    spec = resolve({"method.name": "baseline", "dataset.name": "synthetic", "evaluate.initial": "false"} | values).spec
    tracklet = np.repeat(np.arange(6), [30, 5, 70, 1, 12, 40])
    person = tracklet // 2
    samples = Samples(tuple(map(str, range(len(person)))), person, person, person, tracklet=tracklet)
    cut = pieces(tracklet, 10)
    feed = TrainingFeed(
        TrainingData(samples, np.arange(len(person)), pieces=cut),
        np.zeros((len(person), 16, 16, 3), np.uint8),
        spec,
        World(torch.device("cpu")),
    )
    epochs = [feed.index(epoch) for epoch in (1, 2, 3)]
    assert (epochs[0] == feed.index(1)).all(), "a pure function of seed and epoch"
    drawn = np.concatenate([index.reshape(-1) for index in epochs])
    assert len(np.unique(drawn)) > len(cut), "not always the same frame of a piece"
    for index in epochs:
        for pair in index.reshape(-1, 2):
            assert len(np.unique(person[pair])) == 1, "K images of one person"
        assert index.size <= len(cut), "an epoch takes about one frame of each piece"
