"""What would be run, before anything is: `print=config` and `dry=true`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from datasets.errors import DataError, UsageError

from .wording import counted

if TYPE_CHECKING:
    from benchmarks.resolve import Resolved


def config_lines(plans: "Iterable[Resolved]", what: str) -> Iterator[str]:
    """Every key of every plan, its value and where it came from."""
    import yaml

    from benchmarks.resolve import describe

    if what != "config":
        raise UsageError(f"print={what} is not known: print=config shows the resolved configuration.")
    for plan in plans:
        yield f"# {plan.run_id}"
        for key, value, origin in describe(plan):
            text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
            yield f"{f'{key}: {text}':<60} # {origin}"


def plan_lines(plans: "Sequence[Resolved]", rows: Mapping[str, str] | None = None) -> Iterator[str]:
    """Each run's id with its state, and how many are left; `rows`: run id → which row of a table it is of."""
    from benchmarks.child import folder_of, is_finished

    done = 0
    for plan in plans:
        try:
            state = folder_of(plan).status()["state"]
            done += is_finished(plan)
        except (DataError, OSError):
            state = "damaged"
        yield f"{plan.run_id}  {'to do' if state == 'new' else state}{f'  {rows[plan.run_id]}' if rows else ''}"
    yield f"{counted(len(plans), 'run')}: {done} done, {len(plans) - done} to do"
