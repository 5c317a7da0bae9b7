"""The W&B mirror: what `wandb leet inspect` reads back from disk is what the run folder says. No network, no key."""

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from benchmarks.records import RunFolder
from datasets.errors import DataError, UsageError
from datasets.files import write_json, write_text
from reports.run_scalars import points, score_prefix, state_of, summary
from reports.wandb_client import LONGEST, Target, tracker_id
from reports.wandb_mirror import mirror_runs
from reports.wandb_run import configuration, remembered

ROOT = Path(__file__).parent.parent
RUN = "synthetic-differ-0123abcd-s4"
GROUP = "synthetic-differ-0123abcd"
SCORES = {"mAP": 0.5, "R1": 0.6, "R5": 0.7, "R10": 0.8, "R20": 0.9, "mINP": 0.2, "queries": 9}
NAN = float("nan")


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path) -> Iterator[None]:
    """No account of whoever runs the tests, a server that is not there; the mirror's variables end with the test."""
    (tmp_path / "home").mkdir()
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            del os.environ[name]
        os.environ["HOME"] = str(tmp_path / "home")
        os.environ |= {"NETRC": str(tmp_path / "netrc"), "WANDB_BASE_URL": "http://127.0.0.1:9"}
        yield


def epoch(number: int, **more: Any) -> dict[str, Any]:
    event = {"event": "epoch", "epoch": number, "steps": 3, "loss": 2.0 / number, "lr": 1e-4, "seconds": 2.0}
    event |= {"terms": {"identity": 1.5 / number, "triplet": 0.5 / number}, "gradient_share": {"identity": 0.75}}
    return event | {"waiting": 0.25, "images_per_second": 100.0, "peak_memory": 2**31, "steps": 3} | more


def validation(number: int, rule: str, score: float, best: bool) -> dict[str, Any]:
    return {"event": "validation", "epoch": number, "rule": rule, "best": best, **SCORES, "mAP": score}


def scores(selection: str, protocol: str = "cloth-changing", **more: Any) -> dict[str, Any]:
    return {"event": "scores", "selection": selection, "epoch": 1, "protocol": protocol, **SCORES, **more}


EVENTS = [
    {"event": "start", "run": RUN},
    scores("initial", mAP=0.1),
    epoch(1),
    validation(1, "validation", 0.4, True),
    epoch(2, peak_memory=None),
    validation(2, "validation", 0.3, False),
    scores("last", mAP=0.45),
    scores("validation"),
    scores("validation", "standard", mAP=NAN),
]


def written(
    store: Path, events: Sequence[dict[str, Any]] = EVENTS, *, rule: str = "validation", **status: Any
) -> RunFolder:
    """A run folder by hand: all that the mirror reads, without images or a model."""
    run = RunFolder(store / RUN)
    spec = {"method": {"name": "differ", "weights": {"triplet": 1.0}}, "dataset": {"name": "synthetic"}, "seed": 4}
    write_json(run.path / "spec.yaml", spec | {"train": {"epochs": 2}})
    data = {"selection": rule, "splits": {"query": {"fingerprint": "f00d", "images": 9}}, "held_out": [1, 2]}
    protocols = [{"name": "cloth-changing"}, {"name": "standard"}]
    write_json(run.path / "data.json", data | {"protocols": protocols, "facts": {"persons": 7, "wardrobes": [[0]]}})
    session = {"session": {"data": "/home/somebody/ltcc"}, "command": "run.py data=/home/somebody/ltcc"}
    write_json(run.path / "environment.json", [{"python": "3.11", "commit": "c0ffee", **session}])
    for number, event in enumerate(events):
        run.append({**event, "time": 1.7e9 + number})
    run.set_status(**({"state": "done"} | status))
    write_text(run.ranking("cloth-changing", rule), "not read by the mirror")
    return run


def mirror(store: Path, **words: str) -> list[str]:
    return list(mirror_runs({"runs": str(store), **words}))


def folders(store: Path, run_id: str = RUN) -> list[Path]:
    return sorted((store / ".wandb" / "wandb").glob(f"*run-*-{run_id}"))


def inspected(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of an offline run, by their type."""
    program = Path(sys.executable).with_name("wandb")
    done = subprocess.run([program, "leet", "inspect", "--json", folder], capture_output=True, text=True, check=True)
    found: dict[str, list[dict[str, Any]]] = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


def without_clock(values: dict[str, Any]) -> dict[str, Any]:
    """What a row or a summary says, but for the seconds that mirroring took."""
    return {name: value for name, value in values.items() if name not in ("_runtime", "_wandb.runtime")}


def history(records: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [without_clock(row["item"]) for row in records["history"]]


def final_summary(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in records["summary"]:
        found |= record.get("update", {})
        for name in record.get("remove", []):
            found.pop(name, None)
    return without_clock({name: value for name, value in found.items() if name not in ("_step", "_timestamp")})


# --- events as numbers ---


def test_an_epoch_becomes_one_point_with_weighted_terms_speed_and_memory() -> None:
    (point,) = points([{**epoch(2), "time": 5.0}])
    assert (point.step, point.epoch, point.time) == (4, 2, 5.0)
    assert point.values == {
        "loss/total": 1.0,
        "loss/identity": 0.75,
        "loss/triplet": 0.25,
        "gradient_share/identity": 0.75,
        "lr": 1e-4,
        "speed/images_per_second": 100.0,
        "speed/waiting_share": 0.25,
        "speed/seconds_per_epoch": 2.0,
        "peak_memory_GiB": 2.0,
    }


def test_steps_grow_over_epochs_and_validations_and_do_not_depend_on_what_came_before() -> None:
    """A resumed run logs the same event at the same step, so that W&B drops what it has."""
    events = [{**event, "time": 0.0} for event in EVENTS]
    assert [point.step for point in points(events)] == [2, 3, 4, 5]
    assert [point.step for point in points(events[4:])] == [4, 5]


def test_a_score_chosen_on_the_test_set_never_stands_without_its_dagger() -> None:
    assert score_prefix("validation", "validation") == ""
    assert score_prefix("last", "validation") == "last/"
    assert score_prefix("oracle", "validation") == "oracle †/"
    assert score_prefix("oracle", "oracle") == "oracle †/", "even where it is the run's result"
    (point,) = points([{**validation(1, "oracle", 0.4, True), "time": 0.0}])
    assert set(point.values) == {f"oracle †/{name}" for name in SCORES if name != "queries"}


def test_the_summary_holds_the_headline_the_other_selections_and_the_best_validation(tmp_path: Path) -> None:
    found = summary(written(tmp_path))
    assert found["status"] == "done"
    assert found["cloth-changing/mAP"] == 0.5
    assert found["last/cloth-changing/mAP"] == 0.45
    assert found["initial/cloth-changing/mAP"] == 0.1
    assert found["standard/R1"] == 0.6
    assert "standard/mAP" not in found, "no query had a match"
    assert (found["validation/mAP"], found["selected_epoch"]) == (0.4, 1), "of the best epoch, not the last"
    assert (found["epoch"], found["loss/total"]) == (2, 1.0)


def test_the_state_tells_a_killed_run_from_a_running_one(tmp_path: Path) -> None:
    run = written(tmp_path, state="running")
    assert state_of(run) == "running", "its process is this one"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    write_json(run.path / "status.json", {**run.status(), "pid": gone.pid})
    deadline = time.time() + 20
    while state_of(run) == "running" and time.time() < deadline:
        time.sleep(0.05)
    assert state_of(run) == "killed", "the process has ended, though nobody has waited for it"
    gone.wait()
    assert state_of(run) == "killed"
    run.append({"event": "diverged", "epoch": 2})
    run.set_status("failed")
    assert state_of(run) == "diverged"


def test_the_configuration_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    found = configuration(written(tmp_path))
    assert "somebody" not in json.dumps(found)
    assert found["method"]["weights"]["triplet"] == 1.0
    assert found["data"] == {
        "splits": {"query": {"fingerprint": "f00d", "images": 9}},
        "facts": {"persons": 7},
        "held_out": 2,
        "selection": "validation",
    }
    assert found["environment"] == {"python": "3.11", "commit": "c0ffee"}


def test_ids_are_ours_unless_wandb_refuses_them() -> None:
    assert tracker_id(RUN) == RUN
    long = "x" * 300
    assert len(tracker_id(long)) <= LONGEST
    assert tracker_id(long) == tracker_id(long) != tracker_id(f"{long}y")
    assert not re.search(r"[/\\#?%:]", tracker_id("a/b#c:d"))
    assert tracker_id("a/b") != tracker_id("a:b")


def test_only_folders_of_the_same_run_are_ever_removed(tmp_path: Path) -> None:
    target = Target(tmp_path, "offline")
    ours = ["offline-run-20260101_000000-a-s1", "run-20260101_000000-a-s1"]
    others = ["offline-run-20260101_000000-a-s10", "offline-run-20260101_000000-b-a-s1", "offline-run-a-s1", "a-s1"]
    for name in ours + others:
        (tmp_path / "wandb" / name).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "wandb" / "offline-run-20260102_000000-a-s1").symlink_to(tmp_path / "elsewhere")
    assert [folder.name for folder in target.folders("a-s1")] == ours


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"wandb": "onlin"}, "wandb=onlin: choose one of offline, online"),
        ({"faces": "blurred"}, "faces=blurred"),
        ({"again": "yes"}, "again=yes"),
        ({"projekt": "x"}, "Did you mean project?"),
        ({"project": "a/b"}, "project=a/b"),
        ({"entity": "e" * 300}, "W&B takes up to"),
    ],
)
def test_wrong_words_are_one_sentence(tmp_path: Path, words: dict[str, str], message: str) -> None:
    written(tmp_path)
    with pytest.raises(UsageError, match=re.escape(message)):
        mirror(tmp_path, **words)
    assert not (tmp_path / ".wandb").exists()


# --- replay ---


def test_a_replayed_run_reads_back_as_the_folder_says(tmp_path: Path) -> None:
    run = written(tmp_path)
    said = mirror(tmp_path)
    assert any(f"{RUN}: done, 4 points" in line for line in said)
    (folder,) = folders(tmp_path)
    records = inspected(folder)

    (identity,) = records["run"]
    assert (identity["run_id"], identity["display_name"], identity["run_group"]) == (RUN, RUN, GROUP)
    assert (identity["job_type"], identity["project"]) == ("train", "ccreid-bench")
    assert identity["tags"] == ["differ", "synthetic", "validation"]
    assert identity["host"] == "-", "not the machine's name"
    assert identity["config"]["update"] | {"_wandb": None} == configuration(run) | {"_wandb": None}
    assert {"glob_name": "*", "step_metric": "epoch"}.items() <= records["metric"][1].items()

    rows = history(records)
    assert [(row["_step"], row["epoch"]) for row in rows] == [(2, 1), (3, 1), (4, 2), (5, 2)]
    assert [row["_timestamp"] for row in rows] == [1.7e9 + number for number in (2, 3, 4, 5)], "of the run, not of now"
    assert rows[0]["loss/triplet"] == 0.5
    assert rows[3]["validation/mAP"] == 0.3
    assert final_summary(records) == summary(run)
    assert records["exit"] == [{"exit_code": 0} | records["exit"][0]]

    (artifact,) = records["artifact"]
    assert (artifact["type"], artifact["name"]) == ("rankings", f"{RUN}-rankings")
    (content,) = artifact["manifest"]["contents"]
    assert content["path"] == "cloth-changing@validation.npz"
    assert Path(content["local_path"]) == run.ranking("cloth-changing", "validation"), "pointed at, not copied"

    left = sorted(path.name for path in (tmp_path / ".wandb").iterdir())
    assert left == ["cache", "locks", "wandb"]
    assert not list(Path(os.environ["HOME"]).rglob("*")), "nothing is written to the user's home"


def test_only_what_is_missing_is_mirrored_again_and_one_folder_is_left(tmp_path: Path) -> None:
    run = written(tmp_path, EVENTS[:4], state="stopped")
    mirror(tmp_path)
    (first,) = folders(tmp_path)
    assert remembered(run)["status"] == "stopped"
    assert mirror(tmp_path)[0].startswith("1 of 1 runs are up to date")
    assert folders(tmp_path) == [first]

    time.sleep(1)  # wandb names folders by the second
    for event in EVENTS[4:]:
        run.append(event)
    run.set_status("done")
    mirror(tmp_path)
    (second,) = folders(tmp_path)
    assert second != first
    rows = history(inspected(second))
    assert [row["_step"] for row in rows] == [2, 3, 4, 5]
    assert remembered(run)["events"] == len(EVENTS)

    (run.path / "wandb.json").write_text("{half")
    assert any("4 points" in line for line in mirror(tmp_path)), "a damaged memory is no memory"


def test_a_damaged_run_is_named_and_the_others_are_mirrored(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "broken-s0").mkdir()
    (tmp_path / "broken-s0" / "spec.yaml").write_text("dataset: {name: synthetic}\nmethod: {name: differ}\n")
    said: list[str] = []
    with pytest.raises(DataError, match="1 of 2 runs"):
        said += mirror_runs({"runs": str(tmp_path)})
    assert len(folders(tmp_path)) == 1
    assert not folders(tmp_path, "broken-s0")


def test_a_run_without_its_images_is_mirrored_without_strips_and_says_so(tmp_path: Path) -> None:
    run = written(tmp_path)
    said = mirror(tmp_path)
    assert any("no retrieval pictures" in line for line in said)
    assert remembered(run)["pictures"] is False


@pytest.mark.parametrize("broken", ["init", "log", "finish"])
def test_a_broken_wandb_is_a_sentence_and_leaves_no_half_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    import wandb

    run = written(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(*((wandb, "init") if broken == "init" else (wandb.Run, broken)), fail)
    said = mirror(tmp_path)
    assert f"{RUN}: W&B failed, so it is not mirrored (ConnectionResetError: Connection lost)." in said
    assert not folders(tmp_path)
    assert not remembered(run), "the next call tries again"


def test_two_processes_do_not_mirror_one_run_at_once(tmp_path: Path) -> None:
    from reports.wandb_client import only_one

    written(tmp_path)
    with only_one(Target(tmp_path / ".wandb", "offline"), RUN) as alone:
        assert alone
        assert any("another process mirrors it" in line for line in mirror(tmp_path))
    assert not folders(tmp_path)


# --- what may leave the machine ---


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A W&B server that knows nobody, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(500)
            self.end_headers()

        do_GET = do_PUT = do_POST  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}", asked
    serving.shutdown()


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run.py"), *words]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)


def test_a_variable_alone_uploads_nothing(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    """WANDB_MODE=online, a key and a server: still offline, and the server hears nothing."""
    url, asked = server
    run = written(tmp_path)
    done = program("wandb", f"runs={tmp_path}", WANDB_MODE="online", WANDB_API_KEY="a" * 40, WANDB_BASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert remembered(run)["mode"] == "offline"
    assert len(folders(tmp_path)) == 1
    assert asked == []


@pytest.mark.slow
def test_typed_online_asks_the_server_and_falls_back_in_bounded_time(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    """The counterpart of the test above, which could not fail without it; and a server that fails costs seconds."""
    url, asked = server
    run = written(tmp_path)
    began = time.time()
    done = program("wandb", f"runs={tmp_path}", "wandb=online", WANDB_API_KEY="a" * 40, WANDB_BASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert time.time() - began < 120
    assert asked
    assert "W&B cannot be reached" in done.stdout
    assert "Pictures of synthetic: Drawn by this program" in done.stdout.splitlines()[1], "the terms come first"
    assert remembered(run)["mode"] == "offline"
    assert len(folders(tmp_path)) == 1, "nothing is left of the attempt"


@pytest.mark.slow
def test_online_without_a_key_is_one_sentence_and_offline(tmp_path: Path) -> None:
    run = written(tmp_path)
    began = time.time()
    done = program("wandb", f"runs={tmp_path}", "wandb=online")
    assert done.returncode == 0, done.stderr
    assert time.time() - began < 60
    assert done.stdout.count("wandb=online needs a key and there is none") == 1
    assert remembered(run)["mode"] == "offline"
    assert len(folders(tmp_path)) == 1


# --- beside a training ---


def tail(run: RunFolder) -> int:
    return sum(1 for event in run.events() if event["event"] == "epoch") if run.path.exists() else 0


def only_run(words: Sequence[str]) -> RunFolder:
    store = next(Path(word.removeprefix("runs=")) for word in words if word.startswith("runs="))
    (spec,) = store.glob("*/spec.yaml")
    return RunFolder(spec.parent)


@pytest.mark.slow
def test_live_and_replayed_are_the_same(tiny: list[str], tmp_path: Path) -> None:
    done = program(*tiny, "select.rule=oracle", "wandb=offline", "wandb_project=here")
    assert done.returncode == 0, done.stderr
    assert "wandb sync" in done.stdout
    run = only_run(tiny)
    store = run.path.parent
    (folder,) = folders(store, run.run_id)
    live = inspected(folder)
    pictures = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.jpg")}
    assert live["run"][0]["tags"] == ["differ", "synthetic", "oracle †"]
    assert live["run"][0]["project"] == "here"
    assert [row["epoch"] for row in history(live)] == [1, 1, 2, 2, 2]
    assert {"loss/biometric", "gradient_share/identity", "lr"} <= history(live)[0].keys()
    assert "oracle †/mAP" in history(live)[1]
    assert final_summary(live)["oracle †/cloth-changing/mAP"] == run.scores()[-3]["mAP"]
    shown = history(live)[-1]
    for kind in ("random", "worst"):
        names = shown[f"retrieval/{kind}.filenames"]
        assert names, kind
        assert {Path("files") / name for name in names} <= pictures.keys()
        assert all("cloth-changing, query" in caption for caption in shown[f"retrieval/{kind}.captions"])

    time.sleep(1)
    said = mirror(store, again="true", project="here")
    assert any("strips, rankings" in line for line in said), said
    (folder,) = folders(store, run.run_id)
    replayed = inspected(folder)
    assert history(replayed) == history(live)
    assert final_summary(replayed) == final_summary(live)
    assert {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.jpg")} == pictures
    assert replayed["run"][0]["config"] == live["run"][0]["config"]

    (tables,) = folders(store, "synthetic-tables")
    (page,) = tables.rglob("*.html")
    assert "<table" in page.read_text()
    assert inspected(tables)["run"][0]["job_type"] == "report"


@pytest.mark.slow
def test_killed_and_resumed_leaves_one_coherent_run(tiny: list[str]) -> None:
    words = [*(word for word in tiny if not word.startswith("train.epochs")), "train.epochs=40", "wandb=offline"]
    command = [sys.executable, str(ROOT / "run.py"), *words]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    store = next(Path(word.removeprefix("runs=")) for word in words if word.startswith("runs="))
    deadline = time.time() + 120
    while time.time() < deadline and not (
        (run := next((RunFolder(spec.parent) for spec in store.glob("*/spec.yaml")), None)) and tail(run) >= 3
    ):
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    run = only_run(words)
    assert 3 <= tail(run) < 40, "it was killed in the middle"
    deadline = time.time() + 60
    while not remembered(run) and time.time() < deadline:
        time.sleep(0.2)
    assert remembered(run)["status"] == "killed", "the mirror noticed"

    done = program(*words)
    assert done.returncode == 0, done.stderr
    assert "going on in epoch" in done.stdout
    for again in (False, True):
        if again:
            mirror(store, again="true")
        (folder,) = folders(store, run.run_id)
        records = inspected(folder)
        trained = [row["epoch"] for row in history(records) if "loss/total" in row]
        assert trained == list(range(1, 41)), "each epoch once, in order"
        assert final_summary(records) == summary(run)
        assert final_summary(records)["status"] == "done"


@pytest.mark.slow
def test_a_wandb_that_raises_costs_a_training_one_warning(tiny: list[str], tmp_path: Path) -> None:
    """A package of that name whose init raises stands in its place."""
    fake = tmp_path / "fake" / "wandb"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text(
        "class Settings:\n    def __init__(self, **_): pass\n"
        "def init(**_): raise RuntimeError('out of order')\n"
        "def teardown(**_): pass\n"
    )
    done = program(*tiny, "wandb=offline", PYTHONPATH=str(fake.parent))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("warning:") == 1, done.stdout
    assert "out of order" in done.stdout
    assert only_run(tiny).status()["state"] == "done"


def processes_below(pid: int) -> dict[int, str]:
    """Descendants of a process and their command lines."""
    found = {}
    for child in subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True
    ).stdout.split():
        line = Path(f"/proc/{child}/cmdline")
        found[int(child)] = line.read_text().replace("\0", " ") if line.exists() else ""
        found |= processes_below(int(child))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["wandb-core", "follow="])
def test_killing_what_mirrors_does_not_stop_a_training(tiny: list[str], victim: str) -> None:
    words = [*(word for word in tiny if not word.startswith("train.epochs")), "train.epochs=60", "wandb=offline"]
    training = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline, killed = time.time() + 120, []
    while not killed and time.time() < deadline and training.poll() is None:
        below = processes_below(training.pid)
        if any("wandb-core" in line for line in below.values()):
            killed = [pid for pid, line in below.items() if victim in line]
        time.sleep(0.1)
    assert killed, "nothing mirrored"
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    output, _ = training.communicate(timeout=240)
    assert training.returncode == 0, output
    assert output.count("warning:") == 1, output
    assert only_run(words).status()["state"] == "done"
