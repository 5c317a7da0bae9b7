"""Features that another code base computed: matched by path, refused where they do not fit."""

from pathlib import Path

import numpy as np
import pytest

import run
from benchmarks.feature_files import FeatureFile
from benchmarks.splits import Splits
from datasets.errors import DataError
from datasets.layouts import write_layout
from datasets.ltcc import LTCC
from datasets.synthetic import Synthetic


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("released")
    write_layout("ltcc", out, Synthetic.Config(people=3, test_people=4, cameras=2, tracklets=2, frames=2, height=64))
    return out


def saved(file: Path, data: Path, prefix: str = "", leave_out: int = 0) -> np.ndarray:
    """One feature per test image: its person, hidden in noise that a nearest neighbour sees through."""
    dataset = LTCC(data)
    samples = [dataset.split(name) for name in ("gallery", "query")]
    paths = [prefix + path for split in samples for path in split.paths]
    person = np.concatenate([split.person for split in samples])
    noise = np.random.default_rng(0).standard_normal((len(person), 8)) * 0.01
    features = (np.eye(8)[person - person.min()] + noise).astype(np.float32)
    np.savez(file, features=features[leave_out:], paths=np.array(paths[leave_out:]))
    return features


def words(data: Path, file: Path, *more: str) -> list[str]:
    places = [f"data={data}", f"runs={file.parent / 'runs'}"]
    return ["evaluate", f"features={file}", "dataset=ltcc", *places, *more]


@pytest.mark.parametrize("prefix", ["", "/somewhere/else/LTCC_ReID/", "LTCC_ReID/", "C:\\data\\LTCC_ReID\\"])
def test_paths_may_be_relative_or_absolute(data: Path, tmp_path: Path, prefix: str) -> None:
    features = saved(tmp_path / "mine.npz", data, prefix)
    splits = Splits(LTCC(data))
    embed = FeatureFile.read(tmp_path / "mine.npz").embed(splits)
    gallery = len(splits.samples("gallery"))
    assert np.array_equal(embed("gallery", np.arange(gallery)).numpy(), features[:gallery])
    assert np.array_equal(embed("query", np.array([1])).numpy(), features[gallery + 1][None])


def test_good_features_get_full_marks_and_a_record(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    saved(tmp_path / "mine.npz", data)
    assert run.main(words(data, tmp_path / "mine.npz")) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed if "100.0" in line] == ["cloth-changing", "standard", "same-clothes"]
    folder = Path(printed[-1])
    assert folder.name.startswith("ltcc-mine-")
    assert sorted(path.name for path in folder.iterdir()) == [
        "cloth-changing@features.npz",
        "same-clothes@features.npz",
        "scores.json",
        "splits",
        "standard@features.npz",
    ]


def test_the_audit_scores_every_convention(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    saved(tmp_path / "mine.npz", data)
    assert run.main(words(data, tmp_path / "mine.npz", "evaluate.rerank.method=k-reciprocal", "protocols=all")) == 0
    assert "dot product" not in capsys.readouterr().out, "re-ranking cannot start from it"
    assert run.main(words(data, tmp_path / "mine.npz", "protocols=all")) == 0
    printed = capsys.readouterr().out
    for said in ("standard-changers", "not normalised, euclidean", "not normalised, dot product", "re-ranked"):
        assert said in printed
    assert "with flip" not in printed, "the images are not at hand"


def test_missing_images_are_counted_and_named(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    saved(tmp_path / "mine.npz", data, leave_out=2)
    assert run.main(words(data, tmp_path / "mine.npz")) == 3
    error = capsys.readouterr().err
    assert "lacks 2 of the" in error
    assert LTCC(data).split("gallery").paths[0] in error


def test_a_flip_is_refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    saved(tmp_path / "mine.npz", data)
    assert run.main(words(data, tmp_path / "mine.npz", "evaluate.flip=true")) == 2
    assert "mirror them where the features are made" in capsys.readouterr().err


def test_two_features_for_one_image_are_refused(data: Path, tmp_path: Path) -> None:
    path = LTCC(data).split("query").paths[0]
    np.savez(tmp_path / "mine.npz", features=np.zeros((2, 4), np.float32), paths=np.array([path, f"again/{path}"]))
    embed = FeatureFile.read(tmp_path / "mine.npz").embed(Splits(LTCC(data)))
    with pytest.raises(DataError, match=f"two features for {path}"):
        embed("query", np.array([0]))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"features": np.zeros((2, 4))}, "must hold `features` and `paths`"),
        ({"features": np.zeros((2, 4)), "paths": np.array(["a"])}, "2 features for 1 paths"),
        ({"features": np.zeros((1, 0)), "paths": np.array(["a"])}, r"expected floating-point features \[N, D\]"),
        ({"features": np.full((1, 2), np.nan), "paths": np.array(["a"])}, "NaN or infinite numbers, first for a"),
        ({"features": np.zeros(4), "paths": np.array(["a"])}, r"expected floating-point features \[N, D\]"),
        ({"features": np.zeros((1, 4)), "paths": np.array(["a"], dtype=object)}, "are not unpickled"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "mine.npz", allow_pickle=True, **arrays)
    with pytest.raises(DataError, match=said):
        FeatureFile.read(tmp_path / "mine.npz")


def test_a_missing_file_and_one_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        FeatureFile.read(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match="is damaged"):
        FeatureFile.read(tmp_path / "text.npz")


def test_either_a_run_or_a_file(capsys: pytest.CaptureFixture) -> None:
    assert run.main(["evaluate"]) == 2
    assert "one of run=ID, features=FILE.npz dataset=NAME" in capsys.readouterr().err
