"""From `key=value` words, a configuration file and a method's recipe to a Spec, remembering where each value came from.

Later layers win: defaults, the method's recipe for the dataset, an ablation row, a suite, the environment, the
configuration file, the command line. An unknown key, a wrong type or a value out of range raises UsageError with the
key, its origin and the mend.
"""

import functools
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError, create_model

from datasets import DATASETS
from datasets.clips import ClipConfig
from datasets.errors import UsageError, did_you_mean
from datasets.masks import MaskConfig
from methods import METHODS

from .ablations import changes_of
from .protocols import choose
from .spec import EvaluateConfig, Session, Spec, to_plain
from .words import ENVIRONMENT, NAMES, SHORT

AFTERWARDS = ("evaluate.", "clips.test_")
"""Beginnings of the keys that a finished run can be evaluated with again."""


@dataclass(frozen=True)
class Layer:
    """Values by dotted key, and where they come from."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Resolved:
    spec: Spec
    session: Session
    origins: dict[str, str]
    """Dotted key → origin, for every key that a layer set; the others are defaults."""

    @functools.cached_property
    def run_id(self) -> str:
        return self.spec.run_id


# --- configuration files ---


def read_config_file(path: Path) -> dict[str, Any]:
    """A YAML or Python file (mmengine's Config: `_base_` inherits, `_delete_` replaces) as a nested dictionary."""
    from mmengine.config import Config  # 0.7 s: only when a file is given

    if not path.is_file():
        raise UsageError(f"Configuration file {path} does not exist.")
    if path.suffix not in (".yaml", ".yml", ".py"):
        raise UsageError(f"Configuration file {path} should end in .yaml, .yml or .py.")
    try:
        return Config.fromfile(path).to_dict()
    except (yaml.YAMLError, SyntaxError, OSError, KeyError, TypeError, ValueError, AttributeError, NameError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"Configuration file {path} cannot be read: {reason}.") from None


# --- keys ---


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, pydantic field) of every value that can be set in `model`."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


@functools.cache
def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """`keys` of a model, looked up once however many runs are resolved; not to be changed."""
    return dict(keys(model))


@functools.cache
def spec_class(method: str, dataset: str) -> type[Spec]:
    """`Spec` with the sections `method` and `dataset` typed for these two."""
    method_config, dataset_config = METHODS.get(method).Config, DATASETS.get(dataset).Config
    return create_model("Spec", __base__=Spec, method=(method_config, ...), dataset=(dataset_config, ...))


def _flatten(values: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries → dotted keys; a dictionary that is itself a value of a known key stays whole."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, str) and key in SHORT:
            flat[SHORT[key]] = value
        elif isinstance(value, Mapping) and key not in known:
            flat |= _flatten(value, known, f"{key}.")
        else:
            flat[key] = value
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys → nested dictionaries."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return nested


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the values of `new`, section by section."""
    both = {key: _merged(old[key], new[key]) for key in new if key in old and isinstance(old[key], Mapping)}
    return {**old, **new, **both}


# --- layers → Spec ---


def resolve(
    command_line: Mapping[str, Any],
    config_file: Path | None = None,
    ablation: str | None = None,
    *,
    suite: Layer | None = None,
    row: Layer | None = None,
) -> Resolved:
    """Put the layers on top of each other and validate the result.

    `suite`: what a row of a paper's table says. `row`: a row of an ablation study, whose full model is what all the
    other layers make: it wins over the command line, too.
    """
    content = read_config_file(config_file) if config_file else {}
    name_of = {key: command_line.get(key, _name_in(content, short)) for short, key in NAMES.items()}
    for short, key in NAMES.items():
        if not isinstance(name_of[key], str):
            _refuse_unknown_sections(command_line)
            registry = METHODS if short == "method" else DATASETS
            raise UsageError(f"Say which {short}: {short}=NAME. Available: {', '.join(registry.entries)}.")
    method, dataset = name_of["method.name"], name_of["dataset.name"]
    spec_model = spec_class(method, dataset)
    known, own = _fields(spec_model) | _fields(Session), _fields(Session)

    recipes = METHODS.get(method).recipes
    recipe = dataset if dataset in recipes else "*"
    layers = [
        Layer(f"recipe {method}/{recipe}", recipes.get(recipe, {})),
        Layer(f"ablation {ablation}", changes_of(method, ablation) if ablation else {}),
        *([suite] if suite else []),
        Layer("environment", {key: os.environ[name] for name, key in ENVIRONMENT.items() if os.environ.get(name)}),
        Layer(f"file {config_file}", _flatten(content, known)),
        Layer("command line", command_line),
        *([row] if row else []),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            if key not in known:
                raise UsageError(_unknown_key(key, layer.origin, known))
            values[key] = _as_meant(value, known[key])
            origins[key] = layer.origin
    values |= {"method.name": method, "dataset.name": dataset}

    nested = _nest({key: value for key, value in values.items() if key not in own})
    spec = _validated(spec_model, nested, origins, known)
    session = _validated(Session, {key: value for key, value in values.items() if key in own}, origins, known)
    spec.check()
    choose(DATASETS.get(dataset)(Path(), spec.dataset).protocols(), spec.evaluate.protocols)  # refuses unknown names
    return Resolved(spec, session, origins)


def resolve_evaluation(stored: Mapping[str, Any], command_line: Mapping[str, Any]) -> Resolved:
    """A finished run's configuration with other options of its evaluation; other keys of the Spec are refused."""
    model = spec_class(stored["method"]["name"], stored["dataset"]["name"])
    of_spec, of_session = dict(keys(model)), dict(keys(Session))
    changeable = {key: field for key, field in of_spec.items() if key.startswith(AFTERWARDS)} | of_session
    for key in command_line:
        if key in of_spec and key not in changeable:
            raise UsageError(
                f"{key} belongs to how the run was trained: only evaluate.* and clips.test_* can change afterwards."
            )
        if key not in changeable:
            raise UsageError(_unknown_key(key, "command line", changeable))
    values, origins = _with_environment(command_line)
    values = {key: _as_meant(value, changeable[key]) for key, value in values.items()}
    changes = _nest({key: value for key, value in values.items() if key not in of_session})
    merged = _merged(stored, changes)
    session = {key: value for key, value in values.items() if key in of_session}
    return Resolved(
        _validated(model, merged, origins, of_spec), _validated(Session, session, origins, of_session), origins
    )


def resolve_dataset(name: str, command_line: Mapping[str, Any]) -> tuple[Any, Session]:
    """A dataset's options and the session, without a method: for verbs that only look at files."""
    sections, session = _resolve_sections({"dataset": DATASETS.get(name).Config}, name, command_line)
    return sections.dataset, session


def resolve_check(name: str, command_line: Mapping[str, Any]) -> tuple[Any, MaskConfig, Session]:
    """The same with how parsing masks are read."""
    models = {"dataset": DATASETS.get(name).Config, "masks": MaskConfig}
    sections, session = _resolve_sections(models, name, command_line)
    return sections.dataset, sections.masks, session


def resolve_features(name: str, command_line: Mapping[str, Any]) -> tuple[Any, EvaluateConfig, ClipConfig, Session]:
    """The dataset's options with those of an evaluation: for features that were made elsewhere."""
    models = {"dataset": DATASETS.get(name).Config, "evaluate": EvaluateConfig, "clips": ClipConfig}
    sections, session = _resolve_sections(models, name, command_line)
    return sections.dataset, sections.evaluate, sections.clips, session


def _resolve_sections(
    models: Mapping[str, type[BaseModel]], dataset: str, command_line: Mapping[str, Any]
) -> tuple[Any, Session]:
    """Some sections of a Spec, as attributes of one object, and the session."""
    holder = create_model("Holder", **{name: (model, ...) for name, model in models.items()})  # type: ignore[call-overload]
    of_sections, of_session = dict(keys(holder)), dict(keys(Session))
    values, origins = _with_environment(command_line)
    for key in values:
        if key not in of_sections | of_session:
            raise UsageError(_unknown_key(key, origins[key], of_sections | of_session))
    values = {key: _as_meant(value, (of_sections | of_session)[key]) for key, value in values.items()}
    options = {key: value for key, value in values.items() if key in of_sections} | {"dataset.name": dataset}
    session = {key: value for key, value in values.items() if key in of_session}
    nested = {name: {} for name in models} | _nest(options)
    return (
        _validated(holder, nested, origins, of_sections),
        _validated(Session, session, origins, of_session),
    )


def _with_environment(command_line: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The command line on top of the environment variables, and the origin of each value."""
    values = {key: os.environ[name] for name, key in ENVIRONMENT.items() if os.environ.get(name)} | dict(command_line)
    return values, {key: "command line" if key in command_line else "environment" for key in values}


def from_plain(values: Mapping[str, Any]) -> Spec:
    """A Spec from what `to_plain` made of one (a run's spec.yaml)."""
    model = spec_class(values["method"]["name"], values["dataset"]["name"])
    return _validated(model, values, {}, dict(keys(model)))


def describe(resolved: Resolved) -> Iterator[tuple[str, Any, str]]:
    """(key, value, origin) of every value of a resolved configuration, the session's too."""
    for model in (resolved.spec, resolved.session):
        plain = to_plain(model)
        for key, _ in keys(type(model)):
            value: Any = plain
            for name in key.split("."):
                value = value[name]
            yield key, value, resolved.origins.get(key, "default")


def _as_meant(value: Any, field: Any) -> Any:
    """A word as its field means it, where the field's type does not see to that.

    It stands for a list of one where a list of words is wanted, and for a number where one of several is to be chosen.
    """
    if not isinstance(value, str):
        return value
    if get_args(field.annotation) == (str, ...):
        return [value]
    numbers = {str(choice): choice for choice in _choices(field.annotation) if type(choice) is int}
    return numbers.get(value, value)


def _choices(annotation: Any) -> tuple[Any, ...]:
    """What a Literal, or one in a union, offers."""
    parts = get_args(annotation)
    return parts if get_origin(annotation) is Literal else tuple(itertools.chain(*map(_choices, parts)))


def _name_in(content: Mapping[str, Any], section: str) -> Any:
    value = content.get(section)
    return value.get("name") if isinstance(value, Mapping) else value


def _refuse_unknown_sections(values: Mapping[str, Any]) -> None:
    """A misspelt «method» would otherwise be reported as a missing one."""
    sections = [*Spec.model_fields, *Session.model_fields]
    for key in values:
        if key.partition(".")[0] not in sections:
            raise UsageError(f"Unknown key {key} (command line).{did_you_mean(key, sections)}")


def _unknown_key(key: str, origin: str, known: Mapping[str, Any]) -> str:
    section = [name for name in known if name.startswith(f"{key}.")]
    if section:
        return f"{key} is a section ({origin}): set one of its keys, such as {section[0]}."
    short = {short for short, full in SHORT.items() if full in known}
    hint = did_you_mean(key, [*known, *short]) or " `python run.py show method=NAME` lists all keys."
    return f"Unknown key {key} ({origin}).{hint}"


def _validated(
    model: type[Any], values: Mapping[str, Any], origins: Mapping[str, str], known: Mapping[str, Any]
) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
    key = ".".join(str(part) for part in error["loc"])
    while key not in known and "." in key:  # a position inside a value, such as image.mean.0
        key = key.rpartition(".")[0]
    message = error["msg"].removeprefix("Value error, ")
    if key not in known:  # a section, whose values do not go together: the message names them
        said = message if message.startswith(f"{key}.") else f"{key}: {message}"
        raise UsageError(f"{said}{f' ({origins[key]})' if key in origins else ''}.")
    doc = " ".join((known[key].description or "").split()).partition(". ")[0].rstrip(".")
    mend = f", written as {key}=[a,b,…]" if get_origin(known[key].annotation) is tuple else ""
    raise UsageError(f"{key}={error['input']}: {message} ({origins.get(key, 'default')}){mend}. It is: {doc}.")
