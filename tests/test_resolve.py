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


@pytest.mark.parametrize(
    ("method", "key", "word", "number"),
    [("baseline", "method.last_stride", "2", 2), ("ifd", "method.attention_kernel", "3", 3)],
)
def test_a_choice_among_numbers_is_a_word_on_the_command_line(
    method: str, key: str, word: str, number: int, tmp_path: Path
) -> None:
    """And the same experiment as the number in a file."""
    names = {"method.name": method, "dataset.name": "synthetic"}
    (tmp_path / "mine.yaml").write_text(f"method: {{{key.removeprefix('method.')}: {number}}}\n")
    spec = resolve(names | {key: word}).spec
    assert spec.run_id == resolve(names, tmp_path / "mine.yaml").spec.run_id
    assert spec.run_id != resolve(names).spec.run_id
    with pytest.raises(UsageError, match=f"{key}=9: Input should be"):
        resolve(names | {key: "9"})


@pytest.mark.parametrize(
    ("method", "values", "said"),
    [
        ("baseline", ("weights.identity=0", "weights.triplet=0"), "Every loss term .* method.weights.identity or"),
        ("cal", ("weights.identity=0",), "nothing trains the backbone .* method.weights.identity or"),
        ("cal", ("weights.clothes=0",), "method.weights.clothes=0 leaves the clothes classifier as it was drawn"),
        ("fire", ("weights.identity=0",), "without a loss: set method.identity_epochs=0"),
        ("cssc", ("weights.identity=0",), "without a loss: set method.weights.identity above 0"),
        ("ifd", ("weights.identity=0", "weights.contrastive=0"), "leave method.weights.identity or"),
        ("ifd", ("attention_epochs=0", "freeze_attention=true"), "method.attention_epochs=0 never trains"),
        ("ifd", ("attention_epochs=0", "weights.attention=0", "detach_attention=true"), "its own term alone"),
        ("differ", ("non_biometric=biometrics",), "unlearns biometrics, which method.weights.biometric teaches"),
        ("baseline", ("triplet_margin=-1",), "greater than or equal to 0"),
    ],
)
def test_values_that_contradict_each_other_are_refused_by_their_full_names(
    method: str, values: tuple[str, ...], said: str
) -> None:
    words = {f"method.{key}": value for key, value in (word.split("=") for word in values)}
    with pytest.raises(UsageError, match=said) as caught:
        resolve({"method.name": method, "dataset.name": "synthetic"} | words)
    assert "default" not in str(caught.value), "a section has no origin"
    assert "\n" not in str(caught.value)


def test_an_aspect_is_unlearnt_once() -> None:
    with pytest.raises(UsageError, match="named twice"):
        resolve({"method.name": "differ", "dataset.name": "synthetic", "method.non_biometric": ["clothing"] * 2})


def test_a_loss_is_not_asked_for_where_nothing_is_trained() -> None:
    off = {"method.weights.identity": "0", "method.weights.triplet": "0", "train.epochs": "0"}
    assert resolve(SYNTHETIC | off).spec.train.epochs == 0


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
