"""The journal of a study: whole lines or none, whatever happens while one is written."""

import errno
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from benchmarks.studies import StudyFolder
from datasets.errors import DataError
from sweeps import journal
from sweeps.journal import Journal, held
from sweeps.storage import JournalFile
from sweeps.study import GIVEN_BACK, MOST_DEATHS, REASON, counted, is_lost, replace_lost


def entries(path: Path) -> list[dict]:
    return list(Journal(path).read_logs(0))


def test_what_is_appended_is_read_from_any_number_on(tmp_path: Path) -> None:
    file = Journal(tmp_path / "a" / "journal.log")
    file.append_logs([{"n": 0}, {"n": 1}])
    file.append_logs([{"n": 2}])
    assert [entry["n"] for entry in file.read_logs(0)] == [0, 1, 2]
    assert [entry["n"] for entry in file.read_logs(2)] == [2]
    file.append_logs([{"n": 3}])
    assert [entry["n"] for entry in file.read_logs(3)] == [3], "only what is new is read"
    assert [entry["n"] for entry in file.read_logs(1)] == [1, 2, 3]
    assert list(file.read_logs(4)) == []


@pytest.mark.parametrize("rest", ['{"n": 1', '{"n": 1}', '{"n": 1}\n{"n"', "x" * 10_000])
def test_half_a_line_of_a_killed_process_is_no_entry_and_spoils_none_after_it(rest: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    Journal(path).append_logs([{"n": 0}])
    with path.open("a") as file:
        file.write(rest)
    whole = [0, 1] if "\n" in rest else [0]
    assert [entry["n"] for entry in entries(path)] == whole
    Journal(path).append_logs([{"n": 9}])
    assert [entry["n"] for entry in entries(path)] == [*whole, 9]


def test_a_full_disk_is_one_sentence_and_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part of the entry may be on the disk when there is no room for the rest."""
    path = tmp_path / "journal.log"
    file = Journal(path)
    file.append_logs([{"n": 0}])
    before = path.read_bytes()

    def half(out: object, place: int, content: bytes) -> None:
        out.seek(place)  # pyright: ignore[reportAttributeAccessIssue]
        out.write(content[: len(content) // 2])  # pyright: ignore[reportAttributeAccessIssue]
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_write", half)
        with pytest.raises(DataError, match=r"journal\.log cannot be written \(No space left on device\): make room"):
            file.append_logs([{"n": 1}, {"n": 2}])
    assert path.read_bytes() == before
    file.append_logs([{"n": 3}])
    assert [entry["n"] for entry in entries(path)] == [0, 3]


def test_a_really_full_file_system_is_no_other_than_the_simulated_one(tmp_path: Path) -> None:
    """/dev/full refuses every byte: what the system says then is understood."""
    path = tmp_path / "journal.log"
    Journal(path)
    with open("/dev/full", "r+b", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        journal._write(full, 0, b"entry\n")  # pyright: ignore[reportArgumentType]


def test_damage_before_the_end_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    path.write_text('{"n": 0}\nnot json\n{"n": 2}\n')
    with pytest.raises(DataError, match=r"journal\.log is damaged at byte 9: restore it"):
        entries(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written .*runs=DIR"):
        Journal(tmp_path / "file" / "journal.log")


def _append(path: Path, worker: int) -> None:
    file = Journal(path)
    for number in range(50):
        file.append_logs([{"worker": worker, "n": number, "more": "x" * 3000}])


def test_several_processes_append_without_losing_or_mixing_anything(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(path, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = entries(path)
    for worker in range(4):
        assert [entry["n"] for entry in found if entry["worker"] == worker] == list(range(50))


def _write_until_killed(path: Path) -> None:
    file, number = Journal(path), 0
    while True:
        file.append_logs([{"n": number, "more": "x" * 200_000}])
        number += 1


def test_processes_that_are_killed_while_they_write_leave_a_journal_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        before = len(entries(path)) if path.exists() else 0
        worker = context.Process(target=_write_until_killed, args=(path,))
        worker.start()
        while not path.exists() or len(entries(path)) < before + 2:
            time.sleep(0.01)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        Journal(path).append_logs([{"n": -1}])  # no lock is left behind, and nothing is glued to half a line
        assert entries(path)[-1] == {"n": -1}
    for line in path.read_text().splitlines():
        json.loads(line)


def test_optunas_own_backend_reads_what_is_written_here(tmp_path: Path) -> None:
    """So that optuna-dashboard, and anyone with Optuna, can open a study."""
    path = tmp_path / "journal.log"
    study = optuna.create_study(study_name="one", storage=JournalStorage(Journal(path)))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    other = optuna.load_study(study_name="one", storage=JournalStorage(JournalFileBackend(str(path))))
    assert [trial.params for trial in other.trials] == [trial.params for trial in study.trials]


# --- who lives ---


def _work_until_killed(root: Path) -> None:
    storage = JournalFile(StudyFolder(root, "one"))
    storage.join()
    study = optuna.load_study(study_name="one", storage=storage.backend)
    with storage.exclusive():
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        storage.claim(trial)
    time.sleep(60)


def test_a_trial_is_stale_when_its_worker_is_dead_and_not_before(tmp_path: Path) -> None:
    storage = JournalFile(StudyFolder(tmp_path, "one"))
    study = optuna.create_study(study_name="one", storage=storage.backend)
    worker = multiprocessing.get_context("fork").Process(target=_work_until_killed, args=(tmp_path,))
    worker.start()
    while not any("worker" in trial.user_attrs for trial in study.trials):
        time.sleep(0.01)
    with storage.exclusive():
        storage.fail_stale(study)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    study.ask()  # begun by a process that died before it could say who it was
    with storage.exclusive():
        storage.fail_stale(study)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.FAIL]


def _lost(study: optuna.Study, *, given_back: bool = False) -> None:
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    if given_back:
        trial.set_user_attr(GIVEN_BACK, True)
    study.tell(trial.number, state=TrialState.FAIL)
    replace_lost(study)


def test_parameters_that_kill_their_worker_every_time_have_failed_after_a_few(tmp_path: Path) -> None:
    """A worker that was told to stop, and gave its trial back, did not die of it."""
    study = optuna.create_study(study_name="one", storage=JournalFile(StudyFolder(tmp_path, "one")).backend)
    _lost(study, given_back=True)
    for _ in range(MOST_DEATHS):
        assert study.trials[-1].state == TrialState.WAITING
        _lost(study)
    *lost, last = study.trials
    assert all(map(is_lost, lost))
    assert len(lost) == MOST_DEATHS + 1
    assert counted(study.trials) == [last]
    assert last.state == TrialState.FAIL
    assert last.params == lost[0].params
    assert last.user_attrs[REASON] == "its worker died 5 times in a row, each time with these parameters"
    replace_lost(study)
    assert len(study.trials) == MOST_DEATHS + 2


def test_the_lock_is_free_when_its_process_is_dead(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")

    def hold() -> None:
        with held(tmp_path / "lock"):
            (tmp_path / "held").touch()
            time.sleep(60)

    holder = context.Process(target=hold)
    holder.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()
    begun = time.monotonic()
    with held(tmp_path / "lock"):
        assert time.monotonic() - begun < 5
