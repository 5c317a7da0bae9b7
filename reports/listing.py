"""What `list` and `show` print. `list` imports no torch; `show` imports the method or dataset that it shows."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from textwrap import fill, indent, wrap
from typing import TYPE_CHECKING, Any

from datasets import DATASETS
from datasets.errors import UsageError
from datasets.registry import Registry
from methods import METHODS

from .suite_listing import list_suites, show_suite

if TYPE_CHECKING:
    from benchmarks.records import RunFolder
    from datasets.base import Protocol, ReIDDataset

WIDTH = 118


# --- list ---


def _entries(registry: Registry) -> Iterator[str]:
    for entry in registry.entries.values():
        yield f"{entry.name:<20} {entry.title}"


def list_methods(values: Mapping[str, str]) -> Iterator[str]:
    yield from _entries(METHODS)


def list_datasets(values: Mapping[str, str]) -> Iterator[str]:
    yield from _entries(DATASETS)


def list_protocols(values: Mapping[str, str]) -> Iterator[str]:
    """The protocols of `dataset`, or of every dataset. A star: only computed when asked for."""
    names = [values["dataset.name"]] if "dataset.name" in values else list(DATASETS.entries)
    for name in names:
        yield name
        yield from _protocols(DATASETS.get(name)(Path()))


def _protocols(dataset: "ReIDDataset") -> Iterator[str]:
    protocols = dataset.protocols()
    for protocol in protocols:
        star = "" if protocol.reported else "*"
        lines = wrap(_in_words(protocol), WIDTH - 33) + wrap(f"source: {protocol.source}", WIDTH - 33)
        for name, line in zip_longest([protocol.name + star], lines, fillvalue=""):
            yield f"  {name:<30} {line}"
    if not all(protocol.reported for protocol in protocols):
        yield "  * older or rarer: computed with evaluate.protocols=NAME, or protocols=all"


def _in_words(protocol: "Protocol") -> str:
    ignored = " or ".join(str(flag.name).lower().replace("_", " ") for flag in protocol.ignore) or "nothing"
    parts = [f"{protocol.query} × {protocol.gallery}", f"of the query's person it ignores: {ignored}"]
    if protocol.pool:
        parts.append(f"compares tracklets, pooled by {protocol.pool}")
    if protocol.draws:
        parts.append(f"one gallery image a person, {protocol.draws} draws")
    if protocol.area != "steps":
        parts.append(f"average precision by {protocol.area}")
    return "; ".join(parts)


def list_published(values: Mapping[str, str]) -> Iterator[str]:
    """What papers report, and how sure the number is; of one dataset or method where they are named."""
    from benchmarks.published import find, load_published

    entries = find(load_published(), method=values.get("method.name"), dataset=values.get("dataset.name"))
    for entry in sorted(entries, key=lambda entry: (entry.dataset, entry.protocol)):
        what = entry.method + (f", {entry.row}" if entry.row else "")
        scores = f"mAP {entry.printed('mAP'):>7} · R1 {entry.printed('R1'):>7}"
        yield f"{entry.dataset:<16} {entry.protocol:<26} {scores} · {what} [{entry.certainty}: {entry.source}]"
    if not entries:
        yield "Nothing is recorded of these in benchmarks/suites/published.yaml."


def list_runs(values: Mapping[str, str]) -> Iterator[str]:
    """Every run, its state and the mAP of its first protocol under the selection that counts, or why it does not."""
    from benchmarks.records import RunStore
    from benchmarks.run_states import judge

    store = RunStore.of(values)
    runs = list(store)
    if not runs:
        yield f"No runs in {store.root}."
    for run in runs:
        found = judge(run)
        yield f"{run.run_id:<48} {found.state:<8} {_result(run) if found.counts else found.reason}"


def _result(run: "RunFolder") -> str:
    from benchmarks.selection import marked

    rows = [row for row in run.scores() if row["selection"] == run.headline]
    return f"{rows[0]['protocol']} mAP {100 * rows[0]['mAP']:.1f} ({marked(rows[0]['selection'])})" if rows else ""


def list_studies(values: Mapping[str, str]) -> Iterator[str]:
    from .studies import listing

    yield from listing.list_studies(values)


LISTINGS: dict[str, Callable[[Mapping[str, str]], Iterator[str]]] = {
    "methods": list_methods,
    "datasets": list_datasets,
    "protocols": list_protocols,
    "suites": list_suites,
    "published": list_published,
    "runs": list_runs,
    "studies": list_studies,
}


# --- show ---


def show(values: Mapping[str, str]) -> Iterator[str]:
    """Everything that can be set for a method and a dataset, or everything about a dataset or a run."""
    if "run" in values:
        from benchmarks.records import RunStore

        yield from _show_run(RunStore.of(values).get(values["run"]))
    elif "method.name" in values:
        yield from _show_method(values["method.name"], values.get("dataset.name"))
    elif "dataset.name" in values:
        yield from _show_dataset(values["dataset.name"])
    elif "study" in values:
        from .studies.listing import show_study

        yield from show_study(values)
    elif "suite" in values:
        yield from show_suite(values["suite"])
    else:
        raise UsageError("show what? method=NAME, dataset=NAME, suite=NAME, run=ID or study=NAME.")


def _show_method(name: str, dataset: str | None) -> Iterator[str]:
    from benchmarks.resolve import keys, spec_class
    from benchmarks.spec import Session

    method = METHODS.get(name)
    yield f"{name}: {method.title}"
    if about := _paper(method):
        yield _wrapped(about)
    yield ""
    if method.quirks:
        yield f"where {method.compared_with} differs (here · {method.compared_with} · the key that chooses)"
        for here, there, key in method.quirks:
            yield _wrapped(f"- {here} · {there} · {key}")
        yield ""
    if method.ablations:
        yield "ablation rows (ablation=NAME)"
        for row, changes in method.ablations.items():
            yield _wrapped(f"{row}: {_words(changes) or 'nothing changed'}")
        yield ""
    for recipe, changes in method.recipes.items():
        if dataset in (None, recipe):
            yield f"recipe for {'any other dataset' if recipe == '*' else recipe}"
            yield _wrapped(_words(changes))
            yield ""
    yield "keys of the experiment (they change the result)"
    yield from _keys(keys(spec_class(name, dataset or "synthetic")))
    yield ""
    yield "keys of the session (where and how; they do not)"
    yield from _keys(keys(Session))


def _paper(method: type) -> str:
    """The paragraph of the method's file that names the paper, its arXiv number and the official code; "": none."""
    text = inspect.getdoc(inspect.getmodule(method)) or ""
    return next((" ".join(part.split()) for part in text.split("\n\n") if part.startswith("Paper:")), "")


def _words(changes: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_plain(value)}" for key, value in changes.items())


def _keys(fields: Iterator[tuple[str, Any]]) -> Iterator[str]:
    for key, field in fields:
        if key in ("method.name", "dataset.name"):
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        search = extra.get("search")
        tuned = f" [search {search['low']:g} … {search['high']:g}{' log' if search['log'] else ''}]" if search else ""
        allowed = "" if search else _bounds(field)
        yield f"  {key}={_plain(field.get_default(call_default_factory=True))}{tuned}{allowed}"
        if field.description:
            yield indent(fill(" ".join(field.description.split()), WIDTH - 8), "        ")


def _plain(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bounds(field: Any) -> str:
    """The choices or limits that pydantic will check."""
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return f" [{' | '.join(choices)}]"
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {_plain(getattr(m, name))}" for m in field.metadata for name, sign in signs.items() if hasattr(m, name)
    ]
    return f" [{', '.join(limits)}]" if limits else ""


def _show_dataset(name: str) -> Iterator[str]:
    from benchmarks.resolve import keys

    dataset = DATASETS.get(name)
    yield f"{name}: {dataset.title} ({dataset.year})"
    for label, text in (("homepage", dataset.homepage), ("citation", dataset.citation), ("terms", dataset.terms)):
        if text:
            yield _wrapped(f"{label}: {text}")
    if dataset.folder:
        yield f"  folder: {dataset.folder}, in data=DIR or one level below"
    published = "published" if dataset.statistics_verified else "published (from memory)"
    for split, counts in dataset.statistics.items():
        said = ", ".join(f"{count:,} {what}" for what, count in vars(counts).items() if count is not None)
        yield f"  {published}, {split}: {said}"
    yield ""
    yield "protocols (the first is the headline)"
    yield from _protocols(dataset(Path()))
    validation = dataset(Path()).validation()
    if validation.query == "train":
        yield f"  An epoch is chosen on held-out training people: {_in_words(validation).partition('; ')[2]}"
    else:
        yield f"  An epoch is chosen by {_in_words(validation)}"
    fields = [(f"dataset.{key}", field) for key, field in keys(dataset.Config) if key != "name"]
    if fields:
        yield ""
        yield "keys"
        yield from _keys(iter(fields))


def _show_run(run: "RunFolder") -> Iterator[str]:
    from benchmarks.run_states import judge

    found = judge(run)
    yield f"{run.path}: {found.state}{f'. {found.reason}' if found.reason else ''}"
    if (run.path / "spec.yaml").exists():
        yield (run.path / "spec.yaml").read_text(encoding="utf-8").rstrip()
    for start in run.starts():
        yield f"started {start['started']}: {start['command']} (commit {start['commit']})"
    for row in run.scores():
        yield json.dumps({key: value for key, value in row.items() if key not in ("event", "time")})


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
