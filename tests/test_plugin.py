"""`plugin=FILE`: the example of docs/add-a-method.md runs as printed, and a run belongs to the file that made it."""

import os
import re
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

import run
from benchmarks import plugins
from benchmarks.plugins import load_plugin
from benchmarks.resolve import spec_class
from benchmarks.training import Trainer
from datasets import DATASETS
from datasets.errors import UsageError
from methods import METHODS
from tests.test_experiment import only_run

HEAD = "from methods import METHODS\nfrom methods.base import Method\n\n\n@METHODS.register('mine')\n"
PAGE = Path(__file__).parent.parent / "docs/add-a-method.md"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Each test starts as a new process does: without plugins."""
    yield
    forget_everything()


def forget_everything() -> None:
    for name in list(plugins._loaded):
        plugins._forget(name)
        del plugins._loaded[name]
    spec_class.cache_clear()


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The code block of the page, as a reader saves it."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    file = tmp_path / "mine.py"
    file.write_text(code, encoding="utf-8")
    return file


@pytest.fixture
def words(tiny: list[str], example: Path) -> list[str]:
    """One epoch of the example on the tiny world."""
    kept = [word for word in tiny if not word.startswith(("method", "train.epochs", "captions"))]
    return [f"plugin={example}", "method=mine", "train.epochs=1", *kept]


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


# --- the example ---


def test_the_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 50


def test_the_example_trains_and_is_evaluated_again(words: list[str], example: Path, capsys) -> None:
    assert run.main(words) == 0
    folder = only_run(words)
    assert set(folder.events("epoch")[0]["terms"]) == {"identity", "triplet"}
    digest = sha256(example.read_bytes()).hexdigest()
    assert folder.data()["plugins"] == [{"file": "mine.py", "sha256": digest}]
    where = [word for word in words if word.startswith(("runs=", "cache=", "device="))]
    again = ["evaluate", words[0], f"run={folder.run_id}", "evaluate.metric=euclidean", "evaluate.normalise=false"]
    capsys.readouterr()
    assert run.main([*again, *where]) == 0
    assert "cloth-changing" in capsys.readouterr().out
    assert list((folder.path / "evaluations").glob("*/scores.json"))


def test_a_broken_off_run_goes_on_with_the_same_file(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    move, steps = Trainer._move, []

    def interrupted(self: Trainer, *arguments) -> dict[str, float]:
        steps.append(1)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return move(self, *arguments)

    monkeypatch.setattr(Trainer, "_move", interrupted)
    assert run.main(words) == 75
    assert only_run(words).status()["state"] == "stopped"
    assert run.main(words) == 0
    assert only_run(words).status()["state"] == "done"


def test_a_changed_file_neither_goes_on_nor_counts_as_done_nor_evaluates(
    words: list[str], example: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run.main(words) == 0
    folder = only_run(words)
    forget_everything()
    example.write_text(example.read_text(encoding="utf-8") + "\n# a new thought\n", encoding="utf-8")
    for command in (words, ["evaluate", words[0], f"run={folder.run_id}", f"runs={folder.path.parent}"]):
        capsys.readouterr()
        assert run.main(command) == 2
        assert "mine.py is not as it was when" in capsys.readouterr().err
    forget_everything()
    assert run.main(["evaluate", f"run={folder.run_id}", f"runs={folder.path.parent}"]) == 2
    assert "was made with the plugin mine.py: say plugin=mine.py" in capsys.readouterr().err


# --- the other verbs, and datasets ---


def test_list_and_show_know_the_plugin(example: Path, capsys: pytest.CaptureFixture) -> None:
    assert run.main(["list", "methods", f"plugin={example}"]) == 0
    assert "mine                 Mine: cross entropy" in capsys.readouterr().out
    assert run.main(["show", f"plugin={example}", "method=mine"]) == 0
    printed = capsys.readouterr().out
    assert "method.temperature=0.1" in printed
    assert "Divides the cosines ahead of the softmax." in printed, "the documentation under a field is found"


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("cal", ["arXiv 2204.06890", "commit f773d01", "where the released code differs (here · the released code ·"]),
        (
            "ifd",
            ["arXiv 2501.05851", "no official code", "where the paper differs (here · the paper ·", "masks.missing"],
        ),
        ("baseline", ["arXiv 1903.07071", "where the paper differs (here · the paper ·"]),
        ("differ", ["· augment.erase_fill", "· evaluate.normalise", "· optimiser.head_lr_factor, method.temperature"]),
        ("zeroshot", ["imagenet: method.patch_size=none"]),
    ],
)
def test_show_names_the_paper_and_what_it_is_compared_with(
    method: str, said: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert run.main(["show", f"method={method}", "dataset=ltcc"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in said:
        assert words in printed


def test_a_plugin_may_register_a_dataset(tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    code = (
        '"""Another world."""\nfrom datasets import DATASETS\nfrom datasets.synthetic import Synthetic\n\n\n'
        '@DATASETS.register("otherworld")\nclass Other(Synthetic):\n    name = "otherworld"\n'
    )
    file = written(tmp_path, code)
    small = [word for word in tiny if word.startswith("dataset.")]
    assert run.main(["check", f"plugin={file}", "dataset=otherworld", *small]) == 0
    assert "cloth-changing" in capsys.readouterr().out
    words = [f"plugin={file}", *tiny, "dry=true"]
    words[words.index("dataset=synthetic")] = "dataset=otherworld"
    assert run.main(words) == 0
    assert "otherworld-differ-" in capsys.readouterr().out


def test_a_run_without_the_plugins_classes_says_nothing_of_it(tiny: list[str], example: Path) -> None:
    """Else a run of the baseline would be tied to a file that it never used."""
    load_plugin(example)
    assert plugins.plugin_facts("mine", "synthetic")
    assert plugins.plugin_facts("differ", "synthetic") == {}


# --- files that are refused ---


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os\nx = [\n", r"mine\.py, line 2, fails to import: SyntaxError"),
        ("import os\n\nos.nothing\n", r"mine\.py, line 3, fails to import: AttributeError: .*nothing"),
        ("import json\njson.loads('')\n", r"mine\.py, line 2, fails to import: JSONDecodeError"),
        ("x = 1\n", r"mine\.py registers nothing: write @METHODS\.register"),
        ("from methods import baseline\n", r"registers nothing"),
        (
            "from methods import METHODS\n@METHODS.register('zeroshot')\nclass Mine: pass\n",
            r"method zeroshot (already, choose another name|is registered twice)",
        ),
        ("import sys\nsys.exit(3)\n", r"mine\.py, line 2, fails to import: SystemExit: 3"),
        (f"{HEAD}class Mine: pass\n", r"method mine is no subclass of methods\.base\.Method: write class Mine\(Method"),
        (f"{HEAD}class Mine(Method):\n    Config = dict\n", r"method mine has a Config that is no subclass"),
        (f"{HEAD}class Mine(Method):\n    losses = None\n", r"method mine has no embed, .*: write embed\(self, images"),
        (f"{HEAD}class Mine(Method):\n    embed = None\n", r"method mine has no losses: write losses\(self, batch"),
        (
            f"{HEAD}class Mine(Method):\n    embed = losses = None\n    def __init__(self): pass\n",
            r"method mine cannot be built .*: write __init__\(self, config, facts\)",
        ),
        (
            "from datasets import DATASETS\nfrom datasets.base import ReIDDataset\n\n\n@DATASETS.register('mine')\n"
            "class Mine(ReIDDataset):\n    def split(self, name): pass\n",
            r"dataset mine lacks what .* asks for: write protocols",
        ),
        *(
            (
                HEAD.replace("'mine'", repr(name)) + "class Mine: pass\n",
                "cannot be a folder's or an item of a list: leave out",
            )
            for name in ("a/b", "a\\b", "a,b", "a=b", ".a", "a ", "a\nb", "")
        ),
        (
            HEAD.replace("'mine'", repr("行" * 30)) + "class Mine: pass\n",
            "too long for a folder's: use at most 80 bytes",
        ),
    ],
)
def test_a_file_that_cannot_serve_is_refused_with_its_line_and_leaves_nothing(tmp_path, code, message) -> None:
    before = [dict(registry._classes) for registry in (METHODS, DATASETS)]
    with pytest.raises(UsageError, match=message):
        load_plugin(written(tmp_path, code))
    after = [dict(registry._classes) for registry in (METHODS, DATASETS)]
    assert [new.keys() - old.keys() - {"baseline"} for new, old in zip(after, before, strict=True)] == [set(), set()]


@pytest.mark.parametrize("name", ["nowhere.py", "mine.txt"])
def test_a_missing_file_or_another_kind_is_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    written(tmp_path, "x = 1\n", "mine.txt")
    assert run.main([f"plugin={tmp_path / name}", "method=mine", "dataset=synthetic"]) == 2
    assert f"{name}: there is no such Python file" in capsys.readouterr().err


def test_the_bytes_that_were_hashed_are_the_bytes_that_run(tmp_path: Path) -> None:
    """No compiled file of an older version is used, or left behind."""
    code = f"{HEAD}class Mine(Method):\n    phases, number, embed = (), 1, lambda self, images: images\n"
    load_plugin(written(tmp_path, code))
    assert METHODS.get("mine").number == 1
    forget_everything()
    load_plugin(written(tmp_path, code.replace("1,", "2,")))
    assert METHODS.get("mine").number == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


# --- mistakes that only a run shows ---

LOSSES = 'return {"identity": identity, "triplet": batch_hard_triplet(features, batch.person)}'
EMBED = "return self.backbone(images)  #"


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (LOSSES, "return {}", "Epoch 1 of method=mine has no loss term: set method.weights.identity or"),
        (LOSSES, "return identity", "losses of method=mine returns a tensor of shape []: return a dictionary"),
        (LOSSES, 'return {"idntity": identity}', "the term idntity, which has no weight: declare it in MineWeights"),
        (LOSSES, 'return {"identity": features}', "512] as the term identity: return a scalar tensor"),
        (LOSSES, 'return {"identity": 0.5}', "returns a float as the term identity"),
        (LOSSES, 'return {"identity": identity.detach()}', "trains nothing: none of its terms (identity) depends on"),
        (EMBED, "return self.backbone(images).sum()  #", "embed of method=mine returns a tensor of shape [] for "),
        (EMBED, "pass  #", "embed of method=mine returns a NoneType for "),
        (EMBED, "return self.backbon(images)  #", "mine.py, line 43, fails: AttributeError: 'Mine' object has no"),
        ("super().__init__(config, facts)", "pass", "mine.py, line 39, fails: AttributeError: cannot assign module"),
    ],
)
def test_a_mistake_in_a_plugin_is_one_sentence(
    words: list[str], example: Path, right: str, wrong: str, message: str, capsys: pytest.CaptureFixture
) -> None:
    code = example.read_text(encoding="utf-8")
    assert code.count(right) == 1
    example.write_text(code.replace(right, wrong), encoding="utf-8")
    assert run.main([*words, "train.precision=fp32"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_error_elsewhere_is_not_laid_at_a_plugin_s_door(example: Path) -> None:
    load_plugin(example)
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("ours")
    assert plugins.failing_plugin(caught.value) is None
