"""A study in PostgreSQL: nothing is lost or counted twice when workers die, the database restarts, or both."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import optuna
import psycopg
import pytest
from optuna.trial import FrozenTrial, TrialState

import run
from benchmarks.studies import StudyFolder, Value
from datasets.errors import DataError
from sweeps import postgresql
from sweeps.plan import SweepPlan, read_plan
from sweeps.storage import Storage, open_storage, without_password
from sweeps.study import IS_DEFAULT, REPLACES, counted, is_lost, next_trial, open_study, replace_lost
from sweeps.trial import Measured, Watch, carry_out
from sweeps.worker import work
from tests.postgres import PASSWORD, QUOTED, Server, postgres
from tests.test_sweep import ROOT, only_study, states, words
from tests.test_sweep import _children as children
from tests.test_sweep_planted import WORDS

FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    """Of a database of the test's own, without any table."""
    return server.url_of(re.sub(r"\W", "", request.node.name)[:60])


@dataclass(frozen=True)
class Measure:
    """Takes some time, looking up several times a second as a real training does."""

    seconds: float = 0.0
    begun: Callable[[Mapping[str, Value]], None] = lambda params: None

    def __call__(self, params: Mapping[str, Value], seed: int, watch: Watch) -> Measured:
        self.begun(params)
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            watch.idle()
            time.sleep(0.02)
        watch.epoch(1, 0.5)
        return Measured("finished", (float(params["method.weights.triplet"] or 0.0),), run_id=f"run-{seed}")


def plan_of(tmp_path: Path, **own: str) -> SweepPlan:
    return read_plan({**WORDS, "runs": str(tmp_path), "seed": "0", "study": "one", "sampler": "random", **own})


def opened(plan: SweepPlan, url: str, grace: int = 60, study: str = "one") -> tuple[Storage, optuna.Study]:
    storage = open_storage(StudyFolder(Path("unused"), study), url, grace)
    return storage, open_study(plan, storage)


def worker(
    plan: SweepPlan, url: str, measure: Measure, grace: int = 60, ready: Callable[[], object] = lambda: None
) -> None:
    storage, study = opened(plan, url, grace)
    ready()
    work(plan, study, storage, measure, lambda event: None)


def started(
    plan: SweepPlan, url: str, measure: Measure, grace: int = 60, ready: Callable[[], object] = lambda: None
) -> "multiprocessing.process.BaseProcess":
    process = FORK.Process(target=worker, args=(plan, url, measure, grace, ready), daemon=True)
    process.start()
    return process


def ended_well(*processes: "multiprocessing.process.BaseProcess") -> None:
    for process in processes:
        process.join(120)
        assert process.exitcode == 0


def trials_of(plan: SweepPlan, url: str) -> list[FrozenTrial]:
    _, study = opened(plan, url)
    return study.get_trials(deepcopy=False)


def wait_until(plan: SweepPlan, url: str, true: Callable[[list[FrozenTrial]], bool]) -> None:
    storage, study = opened(plan, url)
    until = time.monotonic() + 60
    while not true(storage.patiently(lambda: study.get_trials(deepcopy=False))):
        assert time.monotonic() < until
        time.sleep(0.02)


def claimed(number: int) -> Callable[[list[FrozenTrial]], bool]:
    return lambda trials: sum("worker" in trial.user_attrs for trial in trials) >= number


def complete(number: int) -> Callable[[list[FrozenTrial]], bool]:
    return lambda trials: sum(trial.state == TrialState.COMPLETE for trial in trials) >= number


def assert_whole(trials: list[FrozenTrial], budget: int) -> None:
    """The budget was spent to the last trial and no further; each lost one is repeated by exactly one other."""
    assert len(counted(trials)) == budget
    lost = [trial for trial in trials if is_lost(trial)]
    assert Counter(trial.state for trial in trials if not is_lost(trial)) == {TrialState.COMPLETE: budget}
    replaced = Counter(trial.user_attrs[REPLACES] for trial in trials if REPLACES in trial.user_attrs)
    assert set(replaced.values()) <= {1}
    for trial in lost:  # begun by two workers at once, while the database restarted: then one of them is enough
        instead = [one for one in counted(trials) if one.params.items() >= trial.params.items()]
        assert replaced[trial.number] == 1 or len(instead) == 1 or not trial.params
    for trial in trials:
        if (of := trial.user_attrs.get(REPLACES)) is not None:
            assert trial.params.items() >= trials[of].params.items()
    assert len({str(trial.params) for trial in counted(trials)}) == budget, "nothing was tried twice"
    assert [trial.user_attrs.get(IS_DEFAULT) for trial in counted(trials)].count(True) == 1


# --- several workers ---


def test_workers_that_begin_at_once_share_one_study_and_stay_in_the_budget(tmp_path: Path, url: str) -> None:
    """Nobody has made the tables yet, and each of them tries to."""
    plan = plan_of(tmp_path, trials="12")
    ended_well(*[started(plan, url, Measure(0.05)) for _ in range(4)])
    trials = trials_of(plan, url)
    assert len(trials) == 12
    assert_whole(trials, 12)


def test_two_studies_in_one_database_do_not_see_each_other(tmp_path: Path, url: str) -> None:
    plans = [plan_of(tmp_path, trials=number, study=name) for name, number in (("one", "3"), ("two", "5"))]
    ended_well(*[started(plan, url, Measure(0.02)) for plan in plans for _ in range(2)])
    for plan, number in zip(plans, (3, 5), strict=True):
        assert_whole(trials_of(plan, url), number)


def test_begun_trials_count_before_they_have_ended(tmp_path: Path, url: str) -> None:
    plan = plan_of(tmp_path, trials="2")
    first, second = (opened(plan, url) for _ in range(2))
    for storage, study in (first, second):
        storage.join()
        assert next_trial(plan, study, storage) is not None
    third = opened(plan, url)
    assert next_trial(plan, third[1], third[0]) is None


# --- workers that die ---


def test_a_killed_workers_trial_is_repeated_once_after_the_grace_period(tmp_path: Path, url: str) -> None:
    plan = plan_of(tmp_path, trials="3")
    victim = started(plan, url, Measure(60), grace=2)
    wait_until(plan, url, claimed(1))
    time.sleep(2.5)
    storage, study = opened(plan, url, grace=2)
    storage.join()
    assert victim.is_alive()
    with storage.exclusive():
        storage.fail_stale(study)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING], "heartbeats keep it alive"
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    worker(plan, url, Measure(), grace=2)
    assert len(counted(study.trials)) == 2, "not yet known to be dead, and not begun by another"
    time.sleep(3)
    ended_well(*[started(plan, url, Measure(), grace=2) for _ in range(3)])
    trials = trials_of(plan, url)
    assert is_lost(trials[0])
    assert len(trials) == 4
    assert_whole(trials, 3)


def test_a_trial_whose_worker_died_before_it_said_who_it_was_is_repeated_at_once(tmp_path: Path, url: str) -> None:
    """Also the defaults, which are queued: their worker died before it took a single parameter."""
    plan = plan_of(tmp_path, trials="3")
    _, study = opened(plan, url)
    study.ask()
    study.ask({"method.weights.triplet": optuna.distributions.FloatDistribution(0.05, 5.0, log=True)})
    assert [trial.params == {} for trial in study.trials] == [True, False]
    worker(plan, url, Measure())
    trials = trials_of(plan, url)
    assert [is_lost(trial) for trial in trials] == [True, True, False, False, False]
    assert_whole(trials, 3)
    defaults = {dimension.key: dimension.default for dimension in plan.space}
    assert next(trial.params for trial in counted(trials) if trial.user_attrs.get(IS_DEFAULT)) == defaults


def test_a_worker_that_is_out_of_reach_for_too_long_gives_its_trial_up(tmp_path: Path, url: str) -> None:
    """It lives, but is taken for lost; what it measured is not counted beside its replacement, and it goes on."""
    plan = plan_of(tmp_path, trials="3")
    storage, study = opened(plan, url, grace=2)
    storage.join()
    trial = next_trial(plan, study, storage)
    assert trial is not None

    def another_replaces_it(params: Mapping[str, Value]) -> None:
        time.sleep(3)
        other, its = opened(plan, url, grace=2)
        other.join()
        with other.exclusive():
            other.fail_stale(its)
            replace_lost(its)

    carry_out(plan, study, storage, trial, Measure(begun=another_replaces_it))
    assert is_lost(study.trials[0])
    worker(plan, url, Measure(), grace=2)
    assert_whole(trials_of(plan, url), 3)


# --- a database that restarts ---


@pytest.mark.parametrize(
    "how", [signal.SIGINT, pytest.param(signal.SIGQUIT, marks=pytest.mark.slow)], ids=["shutdown", "crash"]
)
def test_restarts_in_the_middle_lose_no_trial_and_repeat_none(
    tmp_path: Path, url: str, server: Server, how: signal.Signals
) -> None:
    plan = plan_of(tmp_path, trials="30")
    ready = FORK.Barrier(4)
    workers = [started(plan, url, Measure(0.1), ready=lambda: ready.wait(60)) for _ in range(3)]
    ready.wait(60)
    for ended in (3, 8, 13, 18):
        wait_until(plan, url, complete(ended))
        server.restart(0.2, how)
    ended_well(*workers)
    assert_whole(trials_of(plan, url), 30)


@pytest.mark.slow
def test_a_restart_that_takes_longer_than_the_grace_period_makes_no_trial_lost(
    tmp_path: Path, url: str, server: Server
) -> None:
    """Nobody could leave a heartbeat: afterwards the workers get that time to come back."""
    plan = plan_of(tmp_path, trials="2")
    working = [started(plan, url, Measure(6), grace=2) for _ in range(2)]
    wait_until(plan, url, claimed(2))
    server.restart(3.0)
    storage, study = opened(plan, url, grace=2)
    storage.join()
    with storage.exclusive():
        storage.fail_stale(study)
    ended_well(*working)
    assert [trial.state for trial in trials_of(plan, url)] == [TrialState.COMPLETE] * 2


def test_a_lock_that_was_lost_repeats_what_was_done_under_it(tmp_path: Path, url: str, server: Server) -> None:
    """The database restarts just after a trial was begun: another may be begun meanwhile, and the first is given up."""
    plan = plan_of(tmp_path, trials="2")
    storage, study = opened(plan, url)
    storage.join()
    claim, begun = storage.claim, []

    def restarting(trial: optuna.Trial) -> None:
        claim(trial)
        if not begun:
            server.restart()
        begun.append(trial.number)

    storage.claim = restarting  # pyright: ignore[reportAttributeAccessIssue]
    trial = next_trial(plan, study, storage)
    assert trial is not None
    assert begun == [0, trial.number]
    assert is_lost(study.trials[0])
    carry_out(plan, study, storage, trial, Measure())
    worker(plan, url, Measure())
    assert_whole(trials_of(plan, url), 2)


def test_a_database_that_stays_away_is_said_at_once_and_given_up_after_a_time(
    tmp_path: Path, url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "PATIENCE_SECONDS", 3.0)
    warnings: list[str] = []
    storage = open_storage(StudyFolder(tmp_path, "one"), url, 60, warnings.append)
    study = open_study(plan_of(tmp_path), storage)
    server.stop()
    try:
        with pytest.raises(DataError, match=r"cannot be used .*Connection refused.*the same command goes on") as caught:
            storage.patiently(lambda: study.get_trials(deepcopy=False))
    finally:
        server.start()
    assert len(warnings) == 1
    assert "Trying again" in warnings[0]
    assert PASSWORD not in f"{caught.value}{warnings}"
    assert QUOTED not in f"{caught.value}{warnings}"
    assert storage.patiently(lambda: study.get_trials(deepcopy=False))


def test_what_the_database_refuses_is_not_asked_again(tmp_path: Path, url: str, server: Server) -> None:
    storage, study = opened(plan_of(tmp_path), url)
    storage.backend.engine.connect().exec_driver_sql(  # pyright: ignore[reportAttributeAccessIssue]
        "ALTER TABLE trials RENAME TO gone; COMMIT"
    )
    begun = time.monotonic()
    with pytest.raises(DataError, match='relation "trials" does not exist'):
        storage.patiently(lambda: study.get_trials(deepcopy=False))
    assert time.monotonic() - begun < 5


# --- addresses ---


def refused(tmp_path: Path, capsys: pytest.CaptureFixture, url: str) -> str:
    """The sentence that a sweep ends with."""
    assert run.main(words(tmp_path, "trials=1", "confirm=0", f"storage={url}")) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


def test_what_is_wrong_with_an_address_is_one_sentence_without_its_password(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture
) -> None:
    wrong = server.url.replace(QUOTED, "hunter%402")
    cases = {
        wrong: "password authentication failed",
        server.url.replace("/postgres", "/nowhere").replace("nowhere", "missing"): 'database "missing" does not exist',
        server.url.replace(f":{server.port}/", ":1/"): "Connection refused",
        server.url + "?sslmode=require": "SSL",
        server.url + "?sslmoed=require": "sslmoed",
    }
    for url, reason in cases.items():
        said = refused(tmp_path, capsys, url)
        assert reason in said
        for secret in (QUOTED, PASSWORD, "hunter"):
            assert secret not in said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:…@host/db"),
        ("postgresql://me:se@cr:et@host/db", "postgresql://me:…@host/db"),
        ("postgresql://:secret@host/db", "postgresql://:…@host/db"),
        (
            "postgresql://me@host/db?password=secret&sslmode=require",
            "postgresql://me@host/db?password=…&sslmode=require",
        ),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("mysql://me:secret@host/db", "mysql://me:…@host/db"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


# --- real runs ---


@pytest.mark.slow
def test_sixteen_trials_survive_a_killed_worker_and_a_restarted_database(
    tmp_path: Path, url: str, server: Server
) -> None:
    """Three workers on DIFFER's weights: one is killed in mid-trial, the database restarts, and the command is said
    again. None of the trials is lost, none counted twice; and nobody can read the password.

    Beside the killed one's trial, a worker can lose the one that it was beginning when the database went.
    """
    options = ["train.epochs=3", "trials=16", "workers=3", "confirm=0", "study=one", "grace=10"]
    command = [sys.executable, "run.py", *words(tmp_path, *options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CCREID_STORAGE": url}
    sweep = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    seen = set()
    try:
        study = _study(url, sweep)
        _wait(sweep, lambda: complete(2)(study.get_trials(deepcopy=False)))
        victim = _worker_in_mid_trial(sweep)
        seen |= {command_line(process) for process in (victim, *children(victim))}
        os.kill(victim, signal.SIGKILL)
        _wait(sweep, lambda: complete(5)(study.get_trials(deepcopy=False)))
        server.restart(1.0)
        said, _ = sweep.communicate(timeout=500)
    finally:
        sweep.kill()
    assert "was killed by signal 9" in said
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=500)
    assert again.returncode == 0, again.stderr
    found = only_study(tmp_path)
    count = states(found)
    assert count["complete"] + count["pruned"] == 16
    lost = [trial for trial in found.trials if trial.state == "lost"]
    assert 1 <= len(lost) <= 3
    assert sum(count.values()) == 16 + len(lost), "nothing runs, waits or failed"
    replacing = [trial for trial in found.trials if trial.replaces is not None]
    assert len({trial.replaces for trial in replacing}) == len(replacing), "none is repeated twice"
    for trial in replacing:
        assert trial.params.items() >= found.trials[trial.replaces].params.items()
    ended = [trial for trial in found.trials if trial.state in ("complete", "pruned")]
    for trial in lost:  # one that was being begun may not have got all of its parameters, or none
        assert any(one.params.items() >= trial.params.items() for one in ended)
    assert len({str(trial.params) for trial in ended}) == 16
    runs = [run_id for trial in ended for run_id in trial.runs]
    assert len(runs) == len(set(runs)) == 16
    written = [file.read_bytes() for file in (tmp_path / "runs").rglob("*") if file.is_file()]
    for secret in (PASSWORD, QUOTED):
        assert not any(secret.encode() in content for content in written)
        assert secret not in said + again.stdout + "".join(seen)


def _study(url: str, sweep: subprocess.Popen) -> optuna.Study:
    """As soon as it is there; until then only looked for, since Optuna's own storage writes into new tables."""
    while not _is_there(url):
        assert sweep.poll() is None, sweep.communicate()[0]
        time.sleep(0.2)
    address = url.replace("postgresql://", "postgresql+psycopg://")
    return optuna.load_study(study_name="one", storage=optuna.storages.RDBStorage(address, skip_table_creation=True))


def _is_there(url: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT 1 FROM studies WHERE study_name = 'one'").fetchone() is not None
    except psycopg.errors.UndefinedTable:
        return False


def command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _wait(sweep: subprocess.Popen, until: Callable[[], bool]) -> None:
    while not until():
        assert sweep.poll() is None, sweep.communicate()[0]
        time.sleep(0.2)


def _worker_in_mid_trial(sweep: subprocess.Popen) -> int:
    while sweep.poll() is None:
        for worker in children(sweep.pid):
            if any("plan=-" in command_line(trial) for trial in children(worker)):
                return worker
        time.sleep(0.02)
    raise AssertionError("the sweep ended before a worker could be killed")
