"""One experiment from words to scores, in this process."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import run
from benchmarks.ranking import Ranking
from benchmarks.records import RunFolder, RunStore


def only_run(words: list[str]) -> RunFolder:
    root = next(word.removeprefix("runs=") for word in words if word.startswith("runs="))
    (folder,) = list(RunStore(Path(root)))
    return folder


def test_a_run_leaves_everything_that_its_numbers_stand_on(tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run.main([*tiny, "evaluate.initial=true"]) == 0
    folder, printed = only_run(tiny), capsys.readouterr().out
    assert printed.splitlines()[-1] == str(folder.path), "the last line is the folder of the run"
    assert folder.status()["state"] == "done"
    scores = folder.scores()
    assert {row["selection"] for row in scores} == {"initial", "last"}
    assert {row["protocol"] for row in scores} == {"cloth-changing", "standard", "same-clothes"}
    for row in scores:
        ranking = Ranking.load(folder.ranking(row["protocol"], row["selection"]))
        assert ranking.scores()["mAP"] == row["mAP"], "the evidence gives the score"
    epochs = folder.events("epoch")
    assert [event["epoch"] for event in epochs] == [1, 2]
    assert set(epochs[0]["terms"]) == {"identity", "triplet", "biometric", "non_biometric"}
    assert sum(epochs[0]["gradient_share"].values()) == pytest.approx(1)
    assert yaml.safe_load((folder.path / "spec.yaml").read_text())["method"]["name"] == "differ"
    assert folder.data()["splits"]["train"]["persons"] == 12
    assert folder.starts()[0]["packages"]["torch"] == torch.__version__.partition("+")[0]


def test_the_same_command_again_says_that_it_is_done_and_runs_nothing(
    tiny: list[str], capsys: pytest.CaptureFixture
) -> None:
    run.main(tiny)
    events = only_run(tiny).events()
    first = capsys.readouterr().out
    assert run.main(tiny) == 0
    again = capsys.readouterr().out
    assert "is finished; nothing to do" in again
    assert only_run(tiny).events() == events
    assert first.splitlines()[-6:] == again.splitlines()[-6:], "the table is printed from the record"


def test_a_run_stopped_in_mid_epoch_ends_with_the_bits_of_an_unbroken_one(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM after three steps: exit code 75, a checkpoint in mid-epoch, and an exact continuation."""
    import os
    import signal

    from benchmarks.training import Trainer

    words = [*tiny, "select.holdout=0.45", "evaluate.initial=true"]
    assert run.main(words) == 0
    unbroken = only_run(words)
    broken_words = [word for word in words if not word.startswith("runs=")] + [f"runs={tmp_path / 'broken'}"]
    move, steps = Trainer._move, []

    def interrupted(self: Trainer, *arguments: object) -> dict[str, float]:
        steps.append(1)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return move(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_move", interrupted)
    assert run.main(broken_words) == 75
    broken = only_run(broken_words)
    assert broken.status()["state"] == "stopped"
    state = torch.load(broken.checkpoint, weights_only=True)
    assert (state["epoch"] - 1) * len(steps) + state["step"] > 0
    assert run.main(broken_words) == 0
    assert_equal_runs(unbroken, broken)


def assert_equal_runs(one: RunFolder, two: RunFolder) -> None:
    """Bit for bit: weights of every selection, and every score."""
    files = sorted(file.name for file in (one.path / "checkpoints").glob("*.safetensors"))
    assert files == sorted(file.name for file in (two.path / "checkpoints").glob("*.safetensors"))
    for name in files:
        weights = [load_file(folder.path / "checkpoints" / name) for folder in (one, two)]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    timeless = [
        [{key: value for key, value in row.items() if key != "time"} for row in folder.scores()]
        for folder in (one, two)
    ]
    assert json.dumps(timeless[0]) == json.dumps(timeless[1])


def test_different_seeds_give_different_weights_and_the_same_spec(tiny: list[str]) -> None:
    assert run.main([*tiny, "seed=0,1", "train.epochs=1"][:-1]) == 0
    root = next(word.removeprefix("runs=") for word in tiny if word.startswith("runs="))
    (group,) = RunStore(Path(root)).group().values()
    assert [folder.run_id[-3:] for folder in group] == ["-s0", "-s1"]
    one, two = (load_file(folder.weights("last")) for folder in group)
    assert any(not torch.equal(one[key], two[key]) for key in one)


def test_selection_on_held_out_identities_keeps_them_out_of_training(tiny: list[str]) -> None:
    assert run.main([*tiny, "select.holdout=0.45"]) == 0
    folder = only_run(tiny)
    assert folder.headline == "validation"
    data = folder.data()
    assert len(data["held_out"]) == 5
    assert data["facts"]["persons"] == 7
    best = max(folder.events("validation"), key=lambda event: event["mAP"])
    assert {row["epoch"] for row in folder.scores() if row["selection"] == "validation"} == {best["epoch"]}


def test_the_oracle_rule_is_marked_wherever_it_is_printed(tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run.main([*tiny, "select.rule=oracle"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines()[:-1] if "oracle" in line]  # the last is the folder
    assert lines
    assert all("oracle †" in line for line in lines)


def test_a_finished_run_is_scored_again_under_other_options(tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    run.main(tiny)
    folder = only_run(tiny)
    before = folder.events()
    places = [word for word in tiny if word.startswith(("runs=", "cache="))]
    assert run.main(["evaluate", f"run={folder.run_id}", "evaluate.metric=euclidean", *places]) == 0
    printed = capsys.readouterr().out.splitlines()
    result = json.loads((Path(printed[-1]) / "scores.json").read_text())
    assert result["evaluate"]["metric"] == "euclidean"
    own = {row["protocol"]: row["mAP"] for row in folder.scores()}
    for row in result["scores"]:  # of unit vectors both metrics give the same order
        assert row["mAP"] == pytest.approx(own[row["protocol"]], abs=1e-6)
    assert folder.events() == before, "the run's own scores stay as they are"


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch(
    tiny: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert run.main([*tiny, "optimiser.lr=1e30", "schedule.warmup_epochs=0"]) == 4
    said = capsys.readouterr().err
    assert "diverged in epoch" in said
    assert "train/0" in said, "files of the batch"
    assert "Last good checkpoint" in said
    assert only_run(tiny).status()["state"] == "failed"
    assert len(only_run(tiny).events("diverged")[0]["files"]) == 16


def test_accumulated_batches_are_one_step(tiny: list[str]) -> None:
    assert run.main([*tiny, "train.accumulate=2"]) == 0
    assert only_run(tiny).events("start")[0]["images_per_step"] == 32


def test_a_damaged_checkpoint_is_one_sentence_with_its_mend(tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    run.main(tiny)
    folder = only_run(tiny)
    folder.checkpoint.write_bytes(folder.checkpoint.read_bytes()[:1000])
    folder.set_status("failed")
    capsys.readouterr()
    assert run.main(tiny) == 3
    error = capsys.readouterr().err
    assert "last.pt is damaged: delete it" in error
    assert error.count("\n") == 1
    folder.checkpoint.unlink()
    assert run.main(tiny) == 0


def test_bf16_trains_and_fp32_gives_other_losses(tiny: list[str]) -> None:
    assert run.main([*tiny, "train.precision=bf16,fp32", "select.rule=last"]) == 0
    root = next(word.removeprefix("runs=") for word in tiny if word.startswith("runs="))
    losses = [folder.events("epoch")[0]["loss"] for folder in RunStore(Path(root))]
    assert len(losses) == 2
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_misspelt_protocol_is_refused_before_anything_is_trained(
    tiny: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert run.main([*tiny, "evaluate.protocols=[cloth-changin]"]) == 2
    assert "cloth-changing" in capsys.readouterr().err


def test_training_without_captions_needs_none(tiny: list[str]) -> None:
    """The paper's baseline: the same network, identity and triplet only."""
    assert run.main([*tiny, "ablation=baseline"]) == 0
    assert set(only_run(tiny).events("epoch")[0]["terms"]) == {"identity", "triplet"}
    assert only_run(tiny).data()["facts"]["text_width"] == 0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("status.json", "{bro"),
        ("status.json", "[]"),
        ("data.json", "x"),
        ("data.json", None),
        ("spec.yaml", "a: [b"),
        ("metrics.jsonl", "garbage\n"),
        ("metrics.jsonl", ""),
        ("checkpoints/last.safetensors", "short"),
    ],
)
def test_a_damaged_record_is_named_and_does_not_hide_the_other_runs(
    tiny: list[str], capsys: pytest.CaptureFixture, file: str, content: str | None
) -> None:
    assert run.main([*tiny, "seed=0,1"]) == 0
    root = next(word.removeprefix("runs=") for word in tiny if word.startswith("runs="))
    damaged = next(iter(RunStore(Path(root))))
    path = damaged.path / file
    path.unlink() if content is None else path.write_text(content)
    capsys.readouterr()
    places = [word for word in tiny if word.startswith(("runs=", "cache="))]
    if file.startswith("checkpoints"):
        assert run.main(["evaluate", f"run={damaged.run_id}", *places]) == 3
    else:
        assert run.main([*tiny, "seed=0"]) == 3
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
    assert run.main(["list", "runs", f"runs={root}"]) == 0
    assert "-s1" in capsys.readouterr().out


def test_an_evaluation_on_other_files_says_so(tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    """The score of other images cannot be set beside the run's own; the record tells which files it is of."""
    run.main(tiny)
    folder = only_run(tiny)
    data = folder.data()
    data["splits"]["gallery"]["fingerprint"] = "of other files"
    (folder.path / "data.json").write_text(json.dumps(data))
    places = [word for word in tiny if word.startswith(("runs=", "cache="))]
    capsys.readouterr()
    assert run.main(["evaluate", f"run={folder.run_id}", *places]) == 0
    printed = capsys.readouterr().out
    assert "warning: The files of gallery are not those" in printed
    scores = json.loads((Path(printed.splitlines()[-1]) / "scores.json").read_text())
    assert set(scores["fingerprints"]) == {"query", "gallery"}


def test_one_word_is_a_list_of_one(tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run.main([*tiny, "evaluate.protocols=standard"]) == 0
    folder = only_run(tiny)
    assert {row["protocol"] for row in folder.scores()} == {"standard"}
    places = [word for word in tiny if word.startswith(("runs=", "cache="))]
    words = ["evaluate", f"run={folder.run_id}", "evaluate.protocols=[standard, same-clothes]", *places]
    assert run.main(words) == 0
    assert "same-clothes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("method.embed_dim=33", r"method\.embed_dim=33 .* such as 40"),
        ("train.accumulate=100", r"train\.accumulate=100 wants 100 batches"),
        ("sampler.batch_size=100000", r"lower sampler\.batch_size=100000"),
        ("device=cpu:7", r"device=cpu:7"),
        ("device=meta", r"device=meta"),
        ("image.std=[0,0,0]", r"image\.std"),
        ("image.mean=0.5", r"written as image\.mean=\[a,b,…\]"),
        ("optimiser.lr=inf", r"optimiser\.lr=inf: Input should be a finite number"),
        ("runs=", r"Cannot read runs="),
        ("evaluate.rerank.k1=5", r"set evaluate\.rerank\.method=k-reciprocal as well"),
        ("sampler.instances=16", r"all of one person: choose sampler\.batch_size=32"),
        ("protocols=foo", r"Unknown protocol foo"),
        ("runs=README.md", r"README\.md"),
        ("cache=README.md", r"README\.md"),
    ],
)
def test_a_run_that_cannot_work_says_so_before_it_scores_anything(
    tiny: list[str], word: str, said: str, capsys: pytest.CaptureFixture
) -> None:
    key = word.partition("=")[0]
    words = [other for other in tiny if not other.startswith(f"{key}=")]
    assert run.main([*words, word, "evaluate.initial=true"]) in (2, 3)
    captured = capsys.readouterr()
    assert re.search(said, captured.err), captured.err
    assert captured.err.count("\n") == 1
    assert "initial" not in captured.out
