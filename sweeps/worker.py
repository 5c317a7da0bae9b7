"""A worker: begins trials of a study, one after the other, until none is left to begin."""

from collections.abc import Callable
from typing import Any

import optuna

from benchmarks.interruption import Interruption, StoppedError

from .plan import SweepPlan
from .storage import Storage
from .study import next_trial
from .trial import Measure, carry_out

Listener = Callable[[dict[str, Any]], None]


def work(plan: SweepPlan, study: optuna.Study, storage: Storage, measure: Measure, listen: Listener) -> int:
    """Carry out trials; how many. `listen` hears trial-start, and trial-end with the trial as Optuna keeps it.

    Raises StoppedError after SIGTERM or SIGINT, when the running trial has left a checkpoint and is given back, and
    DataError where the data are wrong or the storage stays away.
    """
    interruption = Interruption()
    done = 0

    def stop() -> StoppedError | None:
        return None if interruption.requested is None else interruption.stopped()

    with interruption.listening(), interruption.deferred():
        storage.join()
        while (error := stop()) is None:
            trial = next_trial(plan, study, storage)
            if trial is None:
                return done
            listen({"event": "trial-start", "number": trial.number, "params": trial.params})
            carry_out(plan, study, storage, trial, measure, stop)
            done += 1
            ended = storage.patiently(lambda number=trial.number: study.get_trials(deepcopy=False)[number])
            listen({"event": "trial-end", "trial": ended})
        raise error
