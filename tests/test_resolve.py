"""From words, files and recipes to a Spec: which layer wins, and what is refused."""

from pathlib import Path

import pytest

from benchmarks.resolve import describe, from_plain, resolve, resolve_evaluation
from benchmarks.spec import Session, Spec, to_plain
from datasets.errors import UsageError

SYNTHETIC = {"method.name": "baseline", "dataset.name": "synthetic"}


def test_later_layers_win_and_every_value_knows_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train: {epochs: 7, accumulate: 3}\noptimiser: {lr: 1e-3}\n")
    resolved = resolve(SYNTHETIC | {"train.epochs": "5"}, file)
    assert resolved.spec.train.epochs == 5
    assert resolved.spec.train.accumulate == 3
    assert resolved.spec.optimiser.lr == 0.001, "YAML 1.1 reads 1e-3 as a word; the field's type decides"
    origins = {key: origin for key, _, origin in describe(resolved)}
    assert origins["train.epochs"] == "command line"
    assert origins["train.accumulate"] == f"file {file}"
    assert origins["image.height"] == "recipe baseline/synthetic"
    assert origins["image.mean"] == "default"


def test_files_inherit_and_may_name_method_and_dataset(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("method: baseline\ndataset: {name: synthetic, people: 9}\ntrain: {epochs: 7}\n")
    (tmp_path / "child.py").write_text("_base_ = './base.yaml'\ntrain = dict(epochs=8)\n")
    spec = resolve({}, tmp_path / "child.py").spec
    assert (spec.method.name, spec.dataset.name, spec.train.epochs) == ("baseline", "synthetic", 8)
    assert spec.dataset.people == 9  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "method.weigths.triplet",
            "1",
            r"Unknown key method\.weigths\.triplet.*Did you mean method\.weights\.triplet\?",
        ),
        ("train", "3", r"train is a section"),
        ("train.epochs", "many", r"train\.epochs=many.*integer.*Passes over"),
        ("train.epochs", "-1", r"train\.epochs=-1.*greater than or equal to 0"),
        ("train.precision", "fp8", r"train\.precision=fp8.*'fp32', 'bf16' or 'fp16'"),
        ("image.mean", [0.5], r"image\.mean"),
        ("sampler.batch_size", "30", r"sampler\.batch_size=30 is not divisible by sampler\.instances=4.*32"),
        ("dataset.name", "lttc", r"Unknown dataset lttc\. Did you mean ltcc\?"),
        ("method.name", "difer", r"Unknown method difer\. Did you mean differ\?"),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(key: str, value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        resolve(SYNTHETIC | {key: value})
    assert "\n" not in str(caught.value)


def test_no_key_of_the_session_is_a_section_of_the_spec() -> None:
    """In a file `captions: {…}` could otherwise mean two things."""
    assert not set(Spec.model_fields) & set(Session.model_fields)


def test_a_misspelt_method_is_not_reported_as_a_missing_one() -> None:
    with pytest.raises(UsageError, match=r"Unknown key methd.*Did you mean method\?"):
        resolve({"methd": "differ", "dataset.name": "synthetic"})
    with pytest.raises(UsageError, match=r"Say which dataset: dataset=NAME\. Available: .*ltcc"):
        resolve({"method.name": "differ"})


def test_a_typo_in_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train: {epoch: 7}\n")
    with pytest.raises(
        UsageError, match=r"Unknown key train\.epoch \(file .*mine\.yaml\)\. Did you mean train\.epochs"
    ):
        resolve(SYNTHETIC, file)


@pytest.mark.parametrize(("name", "content"), [("a.yaml", "train: [1"), ("a.py", "train = dict("), ("a.txt", "")])
def test_an_unreadable_file_is_one_sentence(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match="Configuration file") as caught:
        resolve(SYNTHETIC, tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="does not exist"):
        resolve(SYNTHETIC, tmp_path / "missing.yaml")


def test_the_hash_names_the_experiment_and_not_the_place_or_the_seed(tmp_path: Path) -> None:
    one = resolve(SYNTHETIC | {"seed": "0", "runs": "a"})
    two = resolve(SYNTHETIC | {"seed": "1", "runs": "b", "device": "cpu"})
    assert one.spec.hash == two.spec.hash
    assert one.spec.run_id != two.spec.run_id
    assert resolve(SYNTHETIC | {"method.weights.triplet": "0.5"}).spec.hash != one.spec.hash
    assert resolve(SYNTHETIC | {"dataset.seed": "5"}).spec.hash != one.spec.hash, "another world is another experiment"


def test_a_stored_spec_comes_back_the_same() -> None:
    spec = resolve({"method.name": "differ", "dataset.name": "ltcc"}).spec
    again = from_plain(to_plain(spec))
    assert again == spec
    assert again.run_id == spec.run_id


def test_an_ablation_row_is_a_layer_of_its_own() -> None:
    row = next(iter(resolve_rows()))
    resolved = resolve({"method.name": "differ", "dataset.name": "synthetic"}, ablation=row)
    assert f"ablation {row}" in resolved.origins.values()
    with pytest.raises(UsageError, match="no ablation row nothing"):
        resolve({"method.name": "differ", "dataset.name": "synthetic"}, ablation="nothing")


def resolve_rows() -> list[str]:
    from methods import METHODS

    return [name for name, changes in METHODS.get("differ").ablations.items() if changes]


def test_only_the_evaluation_of_a_finished_run_can_change() -> None:
    stored = to_plain(resolve(SYNTHETIC).spec)
    assert resolve_evaluation(stored, {"evaluate.flip": "true"}).spec.evaluate.flip
    with pytest.raises(UsageError, match=r"train\.epochs belongs to how the run was trained"):
        resolve_evaluation(stored, {"train.epochs": "1"})
    with pytest.raises(UsageError, match=r"Did you mean evaluate\.metric"):
        resolve_evaluation(stored, {"evaluate.metrc": "euclidean"})


def test_environment_variables_say_where_things_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCREID_DATA", "somewhere")
    assert resolve(SYNTHETIC).session.data == Path("somewhere")
    assert resolve(SYNTHETIC | {"data": "elsewhere"}).session.data == Path("elsewhere")
