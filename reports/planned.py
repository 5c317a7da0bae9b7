"""What would be run, before anything is: `print=config` and `dry=true`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from datasets.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.resolve import Resolved


def config_lines(plans: "Iterable[Resolved]", what: str) -> Iterator[str]:
    """Every key of every plan, its value and where it came from."""
    import yaml

    from benchmarks.resolve import describe

    if what != "config":
        raise UsageError(f"print={what} is not known: print=config shows the resolved configuration.")
    for plan in plans:
        yield f"# {plan.spec.run_id}"
        for key, value, origin in describe(plan):
            text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
            yield f"{f'{key}: {text}':<60} # {origin}"


def plan_lines(plans: "Iterable[Resolved]", rows: Mapping[str, str] | None = None) -> Iterator[str]:
    """The runs with what is done; `rows`: run id → which row of a table it is of."""
    from benchmarks.records import RunStore

    for plan in plans:
        run_id = plan.spec.run_id
        state = RunStore(plan.session.runs).open(run_id).status()["state"]
        yield f"{run_id}  {'to do' if state == 'new' else state}{f'  {rows[run_id]}' if rows else ''}"
