"""The only module that imports wandb: where it writes, how a run is opened, and that it can wait for seconds only.

Facts about wandb 0.31 that shape this file: a resumed offline run starts a second folder; images lie in the folder,
artifacts are pointed at; what is logged with a step is written when the next one begins, unless it is committed; with a
key and no network `init` blocks for its timeouts; `finish` waits for uploads forever unless told otherwise.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets.errors import UsageError

MODES = ("offline", "online")
PROJECT = "ccreid-bench"
INIT_SECONDS, LOGIN_SECONDS = 20.0, 10.0
FINISH_SECONDS = 600.0
"""Longest wait for uploads at the end of a run."""
FLUSH_SECONDS = 0.5
"""How much of an offline run a kill can cost; wandb's own 15 s lose all of a short one."""
LONGEST = 128
"""Letters of an id, a name or a group; W&B refuses longer ones."""
LONGEST_TAG = 64
REFUSED = re.compile(r"[/\\#?%:]")
"""What an id or a project must not hold."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """Where runs are mirrored to."""

    root: Path
    """runs/.wandb: everything that wandb writes lies below."""
    mode: str
    """offline or online; online only when it was typed."""
    project: str = PROJECT
    entity: str | None = None

    def __post_init__(self) -> None:
        for key, value in (("project", self.project), ("entity", self.entity or "")):
            if REFUSED.search(value) or len(value) > LONGEST:
                raise UsageError(f"{key}={value}: W&B takes up to {LONGEST} letters without / \\ # ? % :.")
        if self.mode not in MODES:
            raise UsageError(f"wandb={self.mode}: choose one of {', '.join(MODES)}.")

    def folders(self, run_id: str, kind: str = "offline-run|run") -> list[Path]:
        """What mirroring one run left here, the oldest first; nobody else's folders."""
        pattern = re.compile(rf"(?:{kind})-\d{{8}}_\d{{6}}-{re.escape(tracker_id(run_id))}")
        found = (self.root / "wandb").glob("*run-*")
        return sorted(folder for folder in found if pattern.fullmatch(folder.name) and not folder.is_symlink())

    def offline_folders(self, run_id: str) -> list[Path]:
        """Those that `wandb sync` uploads."""
        return self.folders(run_id, "offline-run")


class Client:
    """Opens runs on one target; falls back to offline, once for all, when W&B cannot be reached."""

    def __init__(self, target: Target, say: Say):
        self.target, self.say = target, say
        _set_environment(target)
        if target.mode == "online" and not self._has_key():
            self._go_offline("wandb=online needs a key and there is none (`wandb login`, or WANDB_API_KEY)")

    def _has_key(self) -> bool:
        """Whether wandb knows an account, without asking for one and without the network."""
        import wandb

        try:
            return wandb.login(prompt=False, verify=False)
        except Exception as error:  # whatever is wrong with a key, nothing can be uploaded with it
            self.say(f"W&B refuses the key: {one_line(error)}")
            return False

    def _go_offline(self, reason: str) -> None:
        self.say(f"{reason}: mirroring offline; `python run.py wandb wandb=online` uploads it later.")
        self.target = replace(self.target, mode="offline")
        _set_environment(self.target)

    def open(self, run_id: str, **identity: Any) -> Any:
        """A W&B run that takes steps; of its earlier folders here none is left.

        `identity`: name, group, job_type, tags, config.
        """
        try:
            tracker = self._init(run_id, identity)
        except Exception as error:  # of the server, the network, the service: many types, one meaning
            if self.target.mode == "offline":
                raise
            forget_connection()  # it holds the id for the run that did not begin
            self._go_offline(f"W&B cannot be reached ({one_line(error)})")
            tracker = self._init(run_id, identity)
        own = Path(tracker.dir).resolve().parent
        for folder in self.target.folders(run_id):
            if folder.resolve() != own:
                shutil.rmtree(folder, ignore_errors=True)
        return tracker

    def _init(self, run_id: str, identity: Mapping[str, Any]) -> Any:
        import wandb

        target = self.target
        tags = [tag[:LONGEST_TAG] for tag in dict.fromkeys(identity.get("tags", ())) if tag]
        return wandb.init(
            id=tracker_id(run_id),
            dir=target.root,
            mode=target.mode,  # type: ignore[arg-type]
            project=target.project,
            entity=target.entity,
            resume="allow",
            reinit="create_new",
            allow_val_change=True,
            settings=wandb.Settings(  # never shared by two runs: init writes into it
                mode=target.mode,  # type: ignore[arg-type]
                console="off",
                silent=True,
                symlink=False,
                host="-",  # nobody needs to know the machine
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
                init_timeout=INIT_SECONDS,
                login_timeout=LOGIN_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
            ),
            name=identity["name"][:LONGEST],
            group=identity["group"][:LONGEST],
            job_type=identity["job_type"],
            tags=tags,
            config=dict(identity.get("config", {})),
        )


def forget_connection() -> None:
    """End wandb's service process, which may be broken already; the next run starts another."""
    import wandb

    with contextlib.suppress(Exception):  # whatever it raises, it is of what is given up
        wandb.teardown(exit_code=1)


def tracker_id(run_id: str) -> str:
    """Our run id, made fit for W&B where it is too long or holds what W&B refuses; the same for the same run."""
    fit = REFUSED.sub("-", run_id)
    if fit == run_id and len(run_id) <= LONGEST:
        return run_id
    import hashlib

    return f"{fit[: LONGEST - 9]}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def _set_environment(target: Target) -> None:
    """Keep what wandb writes below the run store, quiet, and in the chosen mode whatever WANDB_MODE says.

    The folder of settings is left alone online: it names the server that the user logged in to.
    """
    root = target.root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    places = {"WANDB_DIR": root, "WANDB_DATA_DIR": root / "data", "WANDB_CACHE_DIR": root / "cache"}
    if target.mode == "offline":
        places["WANDB_CONFIG_DIR"] = root / "config"
    os.environ.update({name: str(place) for name, place in places.items()})
    os.environ.update(WANDB_MODE=target.mode, WANDB_SILENT="true", WANDB_ERROR_REPORTING="false")


@contextlib.contextmanager
def only_one(target: Target, run_id: str) -> Iterator[bool]:
    """Whether this process alone mirrors the run, during the body; the lock dies with its process."""
    lock = target.root / "locks" / f"{tracker_id(run_id)}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def one_line(error: BaseException) -> str:
    """An error of wandb as part of a sentence."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


def sync_command(folders: Sequence[Path]) -> str:
    """What uploads offline folders."""
    return f"wandb sync {' '.join(str(folder) for folder in folders)}"


def read_memory(client: Client, name: str) -> dict[str, Any]:
    """What an earlier call wrote down in a file beside wandb's; nothing where it is missing or damaged."""
    try:
        found = json.loads((client.target.root / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
