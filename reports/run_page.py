"""The page of one run: what its folder says, in the order in which a reader asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.selection import LAST, ORACLE, VALIDATION
from datasets.errors import CCReIDError

from .page import Gallery, anchor, duration, write_page
from .reproduction import Command, Setting, as_word, command, settings
from .run_facts import RunFacts, without_machine_paths

SELECTIONS = {
    LAST: "The result is that of the last epoch.",
    VALIDATION: "The result is that of the best epoch on training identities that were held out of training: the test "
    "set had no part in the choice.",
    ORACLE: "† The epoch was chosen on the test set, as most released codes do: the result is higher than what the "
    "method would reach on data that nobody has looked at.",
}
MEASURED = {
    "identity_same_outfit": "who is it, asked in the outfit that was learnt",
    "identity_other_outfit": "who is it, asked in another outfit",
    "clothes": "which of a person's outfits is it",
    "camera": "which camera took it",
    "similar_clothes": "wrong matches at rank 1 that are dressed like the query",
}
"""What bias.json measures, as questions to the features."""


@dataclass(frozen=True)
class RunPage:
    """A run and the pictures that its page shows."""

    facts: RunFacts
    figures: tuple[Gallery, ...] = ()
    retrieval: tuple[Gallery, ...] = ()
    elsewhere: RunFacts | None = None
    """The seed whose page has the pictures, where this one's has not."""
    problems: tuple[str, ...] = ()
    """What could not be made, and why."""

    def write(self, folder: Path) -> Path:
        return write_page(folder / page_name(self.facts), "run.html", self._context())

    def _context(self) -> Mapping[str, Any]:
        facts = self.facts
        problems = list(self.problems)
        chosen, repeated = _configuration(facts, problems)
        evaluations = _attempt(lambda: [_in_words(one) for one in facts.evaluations()], [], problems)
        context: dict[str, Any] = {
            "title": facts.run_id,
            "facts": facts,
            "lead": _lead(facts),
            "selection": SELECTIONS.get(facts.headline, ""),
            "estimates": facts.estimates() if facts.counts else {},
            "evaluations": evaluations,
            "bias": _attempt(lambda: _bias(facts), [], problems),
            "figures": self.figures,
            "retrieval": self.retrieval,
            "elsewhere": None if self.elsewhere is None else _link(self.elsewhere),
            "command": repeated,
            "settings": [_shown(one) for one in chosen],
            "quirks": _quirks(facts, chosen),
            "compared_with": _class_of("method", facts.method, "compared_with"),
            "terms": _class_of("dataset", facts.dataset, "terms"),
            "warnings": [*_warnings(facts), *problems],
        }
        return context | {"sections": _sections(context)}


def page_name(facts: RunFacts) -> str:
    """File name of a run's page; a folder of any name gets one that every disk and every browser takes."""
    plain = facts.run_id.isascii() and facts.run_id.replace("-", "").replace("_", "").isalnum()
    return f"{facts.run_id if plain and len(facts.run_id) < 150 else anchor(facts.run_id)}.html"


def _link(facts: RunFacts) -> dict[str, Any]:
    return {"facts": facts, "page": page_name(facts)}


def _lead(facts: RunFacts) -> str:
    titles = [_class_of(kind, name, "title") or name for kind, name in _names(facts)]
    start = next(iter(facts.of_kind("start")), {})
    parts = [" on ".join(titles)] if facts.spec else []
    if facts.seed is not None:
        parts.append(f"seed {facts.seed}")
    if "parameters" in start:
        parts.append(f"{start['parameters'] / 1e6:.1f} M parameters")
    if facts.training_seconds:
        parts.append(f"trained for {duration(facts.training_seconds)} in {len(facts.of_kind('epoch'))} epochs")
    return " · ".join(parts)


def _names(facts: RunFacts) -> list[tuple[str, str]]:
    return [("method", facts.method), ("dataset", facts.dataset)]


def _class_of(kind: str, name: str, attribute: str) -> Any:
    """Something that a method's or dataset's class says of itself; empty where the class is not known here."""
    from datasets import DATASETS
    from methods import METHODS

    try:
        return getattr((METHODS if kind == "method" else DATASETS).get(name), attribute)
    except CCReIDError:
        return ""


def _configuration(facts: RunFacts, problems: list[str]) -> tuple[list[Setting], Command | None]:
    if not facts.spec:
        return [], None
    chosen = settings(facts.spec)
    return chosen, _attempt(lambda: command(facts.run, chosen), None, problems)


def _attempt(make: Any, otherwise: Any, problems: list[str]) -> Any:
    try:
        return make()
    except CCReIDError as error:
        problems.append(str(error))
        return otherwise


def _shown(setting: Setting) -> dict[str, Any]:
    known = setting.usual != "" and (setting.doc or setting.usual is not None)
    return vars(setting) | {
        "word": as_word(setting.key, setting.value),
        "usual_word": as_word(setting.key, setting.usual) if known else "–",
    }


def _in_words(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    options = evaluation["options"]
    words = [f"{key}={as_word(key, value)}" for key, value in options.items() if key not in ("rerank", "protocols")]
    words += [f"rerank.{key}={as_word(key, value)}" for key, value in options["rerank"].items() if key == "method"]
    return {**evaluation, "words": ", ".join(words)}


def _bias(facts: RunFacts) -> list[dict[str, Any]]:
    """A row for each measurement of bias.json; none where nothing was measured."""
    from benchmarks.clothing_bias import read_bias

    measured = read_bias(facts.run) if facts.counts else None
    return [] if measured is None else [{"what": what, **measured[name]} for name, what in MEASURED.items()]


def _quirks(facts: RunFacts, chosen: Sequence[Setting]) -> list[tuple[str, str, str, str]]:
    """(here, the released code or the paper, the keys that choose, their values in this run)."""

    def values_of(words: str) -> str:
        """The value of one key; «name=value» where several keys or a section of them are named."""
        found = {
            one.key: as_word(one.key, one.value)
            for key in words.split(", ")
            for one in chosen
            if one.key == key or one.key.startswith(f"{key}.")
        }
        if words in found:
            return found[words]
        return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in found.items()) or "–"

    return [(*quirk, values_of(quirk[2])) for quirk in _class_of("method", facts.method, "quirks") or ()]


def _warnings(facts: RunFacts) -> list[str]:
    """What was said while the run was going on, each sentence once."""
    said = [str(event["message"]) for event in facts.of_kind("warning", "note") if "message" in event]
    diverged = [f"The loss turned NaN in epoch {event['epoch']}." for event in facts.of_kind("diverged")]
    return [without_machine_paths(line) for line in dict.fromkeys([*said, *diverged])]


def _sections(context: Mapping[str, Any]) -> list[str]:
    """Headings, in the order of the template."""
    facts: RunFacts = context["facts"]
    there = {
        "Scores": facts.scores,
        "Clothing bias": context["bias"],
        "Retrieval": context["retrieval"],
        "Figures": context["figures"] or context["elsewhere"],
        "How to reproduce": True,
        "Configuration": context["settings"],
        f"Where {context['compared_with']} differs": context["quirks"],
        "Data": facts.data,
    }
    return [name for name, shown in there.items() if shown]
