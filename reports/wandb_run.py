"""One run folder → one W&B run, the same whether it is followed while it trains or replayed afterwards.

Its W&B id is the run's own, its group is the id without the seed, so that the seeds of one configuration fold together
(of a sweep's trial: the study);
runs/<id>/wandb.json remembers what was mirrored, and where.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.records import RunFolder
from benchmarks.selection import marked
from datasets.errors import CCReIDError
from datasets.files import write_json

from .run_scalars import points, state_of, summary
from .studies.roles import TRAIN, role_of
from .wandb_client import Client, Target, forget_connection, one_line

QUERIES = ("random:8", "worst:8")
"""Whose nearest gallery images are shown; random ones say what the method does, the worst where it fails."""
NOWHERE: Mapping[str, Any] = {}
WELL = ("done", "running", "trained", "pruned")
"""States of a run that nothing went wrong with."""
LEFT_OUT = ("wardrobes", "mean", "std")
"""Of the facts about the training set: long, or in the configuration already."""
MACHINE = ("session", "command")
"""Of the environment: they name folders of this machine."""


class Mirror:
    """One run on its way to W&B. `catch_up` as often as wanted, then `close`; any error leaves the folder as it was."""

    def __init__(self, run: RunFolder, client: Client, *, faces: str = "shown", places: Mapping[str, Any] = NOWHERE):
        """`places`: keys of the session that say where the dataset's images are, when not where the run found them."""
        self.run, self.client, self.faces, self.places = run, client, faces, places
        self.tracker: Any = None
        self._step = -1
        """Of the last point that W&B has."""
        self._summary: dict[str, Any] = {}

    def catch_up(self) -> None:
        """Log what the run's events say beyond what was logged."""
        tracker = self.tracker = self.tracker or self._open()
        for point in points(self.run.events()):
            if point.step > self._step:
                values = {"epoch": point.epoch, "_timestamp": point.time, **point.values}
                tracker.log(values, step=point.step, commit=True)
                self._step = point.step
        if (found := summary(self.run)) != self._summary:
            tracker.summary.update(found)
            self._summary = found

    def close(self, *, pictures: bool = True) -> None:
        """Log the rest; of a finished run also its rankings and pictures. Then write down what was mirrored."""
        self.catch_up()
        shown = False
        state = state_of(self.run)
        if state == "done":
            self._log_rankings()
            shown = pictures and self._log_pictures()
        folder = Path(self.tracker.dir).parent
        self.tracker.finish(exit_code=int(state not in WELL))
        self.tracker = None
        events = self.run.events()
        target = self.client.target
        record = {
            "mode": target.mode,
            "project": target.project,
            "entity": target.entity,
            "events": len(events),
            "fingerprint": fingerprint(events),
            "status": state,
            "pictures": shown,
            "job_type": role_of(self.run).job_type,
            "folder": folder.name if target.mode == "offline" else None,
        }
        write_json(self.run.path / "wandb.json", record)

    def abandon(self) -> None:
        """After an error of W&B: leave no half of an offline run behind, and no connection that is broken."""
        with contextlib.suppress(Exception):  # of what is broken already
            self.tracker.finish(exit_code=1)
        forget_connection()
        for folder in self.client.target.offline_folders(self.run.run_id):
            shutil.rmtree(folder, ignore_errors=True)

    def _open(self) -> Any:
        spec, role = self.run.spec(), role_of(self.run)
        tracker = self.client.open(
            self.run.run_id,
            name=self.run.run_id,
            group=role.group,
            job_type=role.job_type,
            tags=[spec["method"]["name"], spec["dataset"]["name"], marked(self.run.headline), *role.tags],
            config=configuration(self.run),
        )
        self._step = int(tracker.step) - 1  # a resumed online run already has the points before
        tracker.define_metric("epoch", summary="none")
        tracker.define_metric("*", step_metric="epoch", summary="none")  # the summary is what `summary` says
        return tracker

    def _log_rankings(self) -> None:
        import wandb

        artifact = wandb.Artifact(f"{self.tracker.id}-rankings", type="rankings")
        for file in sorted((self.run.path / "rankings").glob("*.npz")):
            # «immutable» points at the file; the default copies it to a folder that nobody cleans
            artifact.add_file(str(file.resolve()), name=file.name, policy="immutable", skip_cache=True)
        self.tracker.log_artifact(artifact)

    def _log_pictures(self) -> bool:
        """One strip per query under the headline protocol; False, with a sentence, where they cannot be drawn."""
        import wandb

        from .retrieval import Options, choose_queries, strips

        protocol = self.run.data()["protocols"][0]["name"]
        options = Options(blur_faces=self.faces == "blur", places=dict(self.places))
        values: dict[str, Any] = {}
        try:
            for queries in QUERIES:
                rows = choose_queries([self.run], protocol, queries)
                drawn = [(strip.image(), strip.caption) for strip in strips([self.run], protocol, rows, options)]
                key = f"retrieval/{queries.partition(':')[0]}"
                values[key] = [wandb.Image(image, caption=caption, file_type="jpg") for image, caption in drawn]
        except (CCReIDError, OSError) as error:
            self.client.say(f"{self.run.run_id}: no retrieval pictures: {one_line(error)}.")
            return False
        epochs = self.run.spec()["train"]["epochs"]
        step = max(2 * epochs + 2, self._step + 1, int(self.tracker.step))
        moment = {"epoch": epochs, "_timestamp": self.run.events()[-1]["time"]}
        self.tracker.log({**moment, **values}, step=step, commit=True)
        return True


def configuration(run: RunFolder) -> dict[str, Any]:
    """The spec, what the data were, and what the run was made with; no folder of this machine."""
    data, starts = run.data(), run.starts()
    facts = {key: value for key, value in data.get("facts", {}).items() if key not in LEFT_OUT}
    shown = {"splits": data.get("splits", {}), "facts": facts, "held_out": len(data.get("held_out") or [])}
    environment = {key: value for key, value in (starts[-1] if starts else {}).items() if key not in MACHINE}
    return {**run.spec(), "data": {**shown, "selection": marked(run.headline)}, "environment": environment}


def fingerprint(events: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(events, sort_keys=True).encode()).hexdigest()


def remembered(run: RunFolder) -> dict[str, Any]:
    """What was mirrored of the run; nothing where wandb.json is missing or damaged, and the run is mirrored again."""
    try:
        found = json.loads((run.path / "wandb.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def up_to_date(run: RunFolder, target: Target) -> bool:
    """Whether the target, or W&B itself, has all that the folder says."""
    known = remembered(run)
    same_place = (known.get("project"), known.get("entity")) == (target.project, target.entity)
    same_run = (known.get("fingerprint"), known.get("status")) == (fingerprint(run.events()), state_of(run))
    same_role = known.get("job_type", TRAIN) == role_of(run).job_type
    there = known.get("mode") == "online" or (
        target.mode == "offline" and (target.root / "wandb" / str(known.get("folder"))).is_dir()
    )
    return same_place and same_run and same_role and there
