"""What is searched: ranges from the methods, files and words, and one sentence for each that makes no sense."""

import re
from pathlib import Path

import pytest

import run
from benchmarks.resolve import resolve
from benchmarks.studies import Dimension
from datasets.errors import UsageError
from methods import METHODS
from sweeps.objectives import read_objectives
from sweeps.plan import SweepPlan, read_plan
from sweeps.space import build_space, contains, defaults_in, distribution, grid_size, read_space

DIFFER = {"method.name": "differ", "dataset.name": "synthetic"}


def plan(**words: str) -> SweepPlan:
    return read_plan({**DIFFER, **{key.replace("__", "."): word for key, word in words.items()}})


def by_key(found: SweepPlan) -> dict[str, Dimension]:
    return {dimension.key: dimension for dimension in found.space}


@pytest.mark.parametrize("method", [name for name in METHODS.entries if name != "zeroshot"])
def test_every_method_can_be_swept_without_a_file(method: str) -> None:
    """All its tunables that are on, the default within the range."""
    base = resolve({"method.name": method, "dataset.name": "synthetic"})
    space = build_space(base, {})
    weights = {key for key, value in base.spec.method.weights if value}
    assert weights <= {dimension.key.removeprefix("method.weights.") for dimension in space}
    assert defaults_in(space) is not None
    for dimension in space:
        distribution(dimension)


def test_a_method_without_tunables_says_so() -> None:
    with pytest.raises(UsageError, match="nothing to tune"):
        read_plan({"method.name": "zeroshot", "dataset.name": "synthetic"})


def test_ranges_come_from_the_method_then_the_file_then_the_words(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        "method:\n  weights:\n    triplet: 0.2..3\n    identity: off\nmethod.temperature: 0.1..0.9:log\n"
        "optimiser.lr: 1e-5..1e-3:log\nsampler.instances: [2, 4, 8]\n"
    )
    found = by_key(
        plan(space=str(file), **{"space.method.weights.triplet": "0.1..1/0.1", "space.train.epochs": "2..6"})
    )
    assert (found["method.weights.triplet"].low, found["method.weights.triplet"].step) == (0.1, 0.1)
    assert "method.weights.identity" not in found
    assert found["method.weights.biometric"] == Dimension(
        key="method.weights.biometric", low=0.05, high=5.0, log=True, default=1.0
    )
    assert (found["optimiser.lr"].low, found["optimiser.lr"].high, found["optimiser.lr"].log) == (1e-5, 1e-3, True)
    assert found["sampler.instances"].choices == (2, 4, 8)
    assert found["train.epochs"].whole


def test_a_term_that_is_off_stays_off_unless_it_is_named() -> None:
    off = {"method.weights.triplet": "0"}
    assert "method.weights.triplet" not in by_key(plan(**off))
    assert "method.weights.triplet" in by_key(plan(**off, **{"space.method.weights.triplet": "0..1"}))


def test_a_default_outside_of_the_methods_range_widens_it_and_one_outside_of_the_users_is_no_trial() -> None:
    wide = plan(**{"method.weights.triplet": "9"})
    assert by_key(wide)["method.weights.triplet"].high == 9
    assert defaults_in(wide.space) is not None
    assert defaults_in(plan(**{"space.method.weights.triplet": "1..2"}).space) is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            {"space.method.weigths.triplet": "0.1..3"},
            r"Unknown key method\.weigths\.triplet in the space\. Did you mean",
        ),
        ({"space.method.weights.triplet": "3..0.1"}, r"space\.method\.weights\.triplet=3\.\.0\.1 is empty"),
        ({"space.method.weights.triplet": "1..1"}, "is empty"),
        ({"space.method.weights.triplet": "0..3:log"}, "begins above 0"),
        ({"space.method.weights.triplet": "0.1..3/0.1:log"}, "has no step"),
        ({"space.method.weights.triplet": "0.1..3/7"}, "step has to be above 0 and fit"),
        ({"space.method.weights.triplet": "low..high"}, "is not a number"),
        ({"space.method.weights.triplet": "1..inf"}, "is not a number"),
        ({"space.method.weights.triplet": "0.1-3"}, r"write 0\.1\.\.3"),
        ({"space.method.weights.triplet": "a"}, r"write 0\.1\.\.3"),
        ({"space.method.weights.triplet": "1|1"}, "each once"),
        ({"space.method.weights.triplet": "-1..1"}, r"space\.method\.weights\.triplet: method\.weights\.triplet=-1"),
        ({"space.method.temperature": "0..1"}, r"space\.method\.temperature: method\.temperature=0"),
        ({"space.method.projection": "linear|mpl"}, r"space\.method\.projection: method\.projection=mpl"),
        ({"space.train.epochs": "1.5..3"}, "takes whole numbers"),
        ({"space.seed": "0..3"}, "seeds are not searched"),
        ({"space": "missing.yaml"}, "missing.yaml cannot be read"),
        ({"seed": "0,0"}, "each once"),
        ({"seed": "a"}, "whole numbers"),
        ({"trials": "0"}, "trials=0: write a whole number, at least 1"),
        ({"workers": "two"}, "workers=two"),
        ({"sampler": "tpee"}, r"Unknown sampler=tpee\. Did you mean tpe\?"),
        ({"sampler": "grid"}, "sampler=grid needs steps or choices"),
        ({"pruner": "media"}, "Did you mean median"),
        ({"objective": "clothes-changing"}, "Did you mean cloth-changing"),
        ({"objective": "seconds"}, "name a protocol first"),
        ({"select.rule": "oracle"}, "held out of the training split"),
        ({"select.rule": "last"}, "held out of the training split"),
        ({"train.epochs": "0"}, "nothing to tune"),
        ({"test": "true"}, "leave the test split closed"),
        ({"wandb": "online"}, "is not for a sweep"),
        ({"study": "../x"}, "a name has letters"),
        ({"storage": "sqlite:///x.db"}, "SQLite is not made for several processes"),
        ({"triasl": "3"}, r"Unknown key triasl\. Did you mean trials\?"),
        ({"method.weights.tripet": "3"}, r"Did you mean method\.weights\.triplet"),
        ({"grace": "1"}, "at least 2"),
        ({"confirm_seeds": "1"}, "at least 2"),
        ({"dry": "true"}, "dry=true is not for a sweep"),
        ({"space.dataset.people": "10..30"}, "would change what is measured"),
        ({"space.select.holdout": "0.1..0.3"}, "would change what is measured"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_with_the_mend(
    words: dict[str, str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Exit code 2, nothing begun."""
    monkeypatch.delenv("CCREID_STORAGE", raising=False)
    command = {"method": "differ", "dataset": "synthetic", "runs": str(tmp_path / "runs"), **words}
    assert run.main(["sweep", *(f"{key}={word}" for key, word in command.items())]) == 2
    said = capsys.readouterr().err
    assert re.search(sentence, said), said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs" / ".studies").exists() or not list(
        (tmp_path / "runs" / ".studies").glob("*/journal.log")
    )


def test_the_name_of_a_study_says_what_it_searches() -> None:
    names = [
        plan().name,
        plan(trials="9", workers="3", confirm="0").name,
        plan(**{"space.method.weights.triplet": "0.1..3"}).name,
        plan(seed="0,1,2").name,
        plan(**{"train.epochs": "3"}).name,
        plan(objective="cloth-changing,seconds").name,
        plan(study="mine").name,
        plan(sampler="gp").name,
    ]
    assert names[0] == names[1]
    assert len(set(names[1:])) == 7
    assert names[0].startswith("synthetic-differ-")


def test_the_sizes_of_grids() -> None:
    own = {"method.weights.triplet": "0..1/0.25", "sampler.instances": "2|4", "train.epochs": "2..4"}
    base = resolve(DIFFER)
    others = {dimension.key: "off" for dimension in build_space(base, {})}
    assert grid_size(build_space(base, others | own)) == 5 * 2 * 3
    assert grid_size(build_space(base, own)) is None


def test_what_a_dimension_contains() -> None:
    steps = Dimension(key="a", low=0.0, high=1.0, step=0.1)
    assert contains(steps, 0.3)
    assert not contains(steps, 0.35)
    choices = Dimension(key="a", choices=(1, "b", None, False))
    assert all(contains(choices, value) for value in (1, "b", None, False))
    assert not contains(choices, True), "True is not 1"
    assert not contains(Dimension(key="a", low=0.1, high=1.0), None)


def test_words_of_the_space_need_no_file() -> None:
    assert read_space(None, {"space.a": "1..2", "trials": "3"}) == {"a": "1..2"}


def test_objectives_are_conventions_between_the_same_images() -> None:
    base = resolve(DIFFER)
    assert [one.name for one in read_objectives("", base)] == ["cloth-changing mAP"]
    both = read_objectives("cloth-changing,standard", base)
    event = {"mAP": 0.1, "R1": 0.2, "others": {"standard": {"mAP": 0.3}}, "event": "validation", "best": True}
    assert [one.of_event(event) for one in both] == [0.1, 0.3]
    cost = read_objectives("cloth-changing,seconds", base)[1]
    assert cost.minimise
    assert cost.of_run([{"event": "epoch", "seconds": 2.0}, {"event": "epoch", "seconds": 3.5}, event]) == 5.5
