#!/usr/bin/env python3
"""Stands in for a Slurm cluster: sbatch, srun, squeue, scontrol and scancel, by the name that it is called by.

Jobs run at once on this machine. What is known of them is in the folder that the variable FAKE_SLURM names: the script,
and for each task its state. Signals go to every process of a task, which is the worst that Slurm may do. With
FAKE_SLURM_REFUSES, sbatch says that and submits nothing; with FAKE_SLURM_HOLDS jobs stay in the queue.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("sbatch", "srun", "squeue", "scontrol", "scancel")
STATE = Path(os.environ.get("FAKE_SLURM", "."))


def install(folder: Path) -> Path:
    """A folder for PATH."""
    folder.mkdir(parents=True)
    for name in PROGRAMS:
        (folder / name).symlink_to(Path(__file__).resolve())
    return folder


def sbatch(script: str) -> int:
    if refusal := os.environ.get("FAKE_SLURM_REFUSES"):
        print(f"sbatch: error: {refusal}\nsbatch: error: Batch job submission failed: {refusal}", file=sys.stderr)
        return 1
    job = 4001 + len(list(STATE.glob("*.sh")))
    text = Path(script).read_text()
    (STATE / f"{job}.sh").write_text(text)
    array = re.search(r"^#SBATCH --array=0-(\d+)", text, re.MULTILINE)
    for task in range(int(array[1]) + 1) if array else [None]:
        name = f"{job}" if task is None else f"{job}_{task}"
        (STATE / f"{name}.state").write_text("PENDING")
        if not os.environ.get("FAKE_SLURM_HOLDS"):
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            words = [sys.executable, str(Path(__file__).resolve()), "task", name]
            subprocess.Popen(words, start_new_session=True, **quiet)
    print(f"Submitted batch job {job}")
    return 0


def task(name: str) -> int:
    """Runs the script as the cluster does, again while it is requeued."""
    job, _, number = name.partition("_")
    own = {"SLURM_JOB_ID": name.replace("_", "9"), "FAKE_SLURM_TASK": name}
    own |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": number} if number else {}
    state, again = STATE / f"{name}.state", STATE / f"{name}.requeue"
    while True:
        script = subprocess.Popen(["bash", str(STATE / f"{job}.sh")], env={**os.environ, **own})
        (STATE / f"{name}.pid").write_text(str(script.pid))
        state.write_text("RUNNING")
        code = script.wait()
        with (STATE / f"{name}.codes").open("a") as codes:
            codes.write(f"{code}\n")
        if not again.exists():
            break
        again.unlink()
    state.write_text("ENDED")
    return 0


def srun(*words: str) -> int:
    rest = list(words)
    output = ""
    while rest[0].startswith("--"):
        option = rest.pop(0)
        if option == "--output":
            output = rest.pop(0)
    for tag, variable in (("%A", "SLURM_ARRAY_JOB_ID"), ("%a", "SLURM_ARRAY_TASK_ID"), ("%j", "SLURM_JOB_ID")):
        output = output.replace(tag, os.environ.get(variable, ""))
    with Path(output.replace("%t", "0")).open("ab") as log:
        return subprocess.call(rest, stdout=log, stderr=subprocess.STDOUT)


def squeue(*words: str) -> int:
    (job,) = [word.removeprefix("--jobs=") for word in words if word.startswith("--jobs=")]
    states = [file.read_text() for file in [*STATE.glob(f"{job}.state"), *STATE.glob(f"{job}_*.state")]]
    if not states:
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        return 1
    print("\n".join(state for state in states if state != "ENDED"))
    return 0


def scontrol(verb: str, job: str) -> int:
    assert verb == "requeue", verb
    (STATE / f"{os.environ['FAKE_SLURM_TASK']}.requeue").touch()
    with (STATE / "requeued").open("a") as file:
        file.write(f"{job}\n")
    return 0


def scancel(job: str, *words: str) -> int:
    name = next((word.removeprefix("--signal=") for word in words), "TERM")
    for file in [*STATE.glob(f"{job}.pid"), *STATE.glob(f"{job}_*.pid")]:
        for process in _below(int(file.read_text())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, getattr(signal, f"SIG{name}"))
    return 0


def _below(process: int) -> list[int]:
    """The processes of a script, but not its shell, which Slurm spares, nor srun, which passes signals on."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError):
        for child in map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()):
            if "fake_slurm" not in Path(f"/proc/{child}/cmdline").read_text() and not _is_srun(child):
                found.append(child)
            found += _below(child)
    return found


def _is_srun(process: int) -> bool:
    words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
    return any(Path(word).name == "srun" for word in words)


if __name__ == "__main__":
    called = Path(sys.argv[0]).name
    verb, rest = (called, sys.argv[1:]) if called in PROGRAMS else (sys.argv[1], sys.argv[2:])
    sys.exit(globals()[verb](*rest))
