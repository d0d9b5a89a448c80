"""Reading node.yaml and the environment into Settings."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError as UnreadableVariable

from adapter.domain.parties import NodeRole
from adapter.settings.model import Settings

PREFIX = "P2PTRADE_"
MAX_VALUE = 80
"""Characters of a wrong value that the error shows."""

_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")


class SettingsError(ValueError):
    """A wrong or missing key; one line."""


def load_settings(file: Path) -> Settings:
    """Return the settings in `file` with the overrides of the environment.

    Raises:
        SettingsError: one line with the key, its value and what is allowed.
    """
    file = file.absolute()
    try:
        values = _read(file)
        _refuse_unknown_variables()
        settings = Settings(**values)
    except ValidationError as error:
        msg = f"{file}: {_first_line(error)}"
        raise SettingsError(msg) from None
    except UnreadableVariable as error:
        text = " ".join(str(error.__cause__ or error).split())
        msg = f"environment {PREFIX}*: a list or map must be JSON: {text}"
        raise SettingsError(msg) from None
    for line in _contradictions(settings):
        msg = f"{file}: {line}"
        raise SettingsError(msg)
    return settings.in_folder(file.parent)


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.load(file.read_text("utf-8"), yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: cannot be read: {error}"
        raise SettingsError(msg) from None
    except yaml.YAMLError as error:
        msg = f"{file}: not YAML: {' '.join(str(error).split())}"
        raise SettingsError(msg) from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        msg = f"{file}: allowed is a map with the sections {_keys(Settings)}"
        raise SettingsError(msg)
    return values


def _refuse_unknown_variables() -> None:
    """Refuse a variable of a section that does not exist; pydantic passes over it."""
    for name in os.environ:
        section, separator, _ = name.removeprefix(PREFIX).partition("__")
        if name.startswith(PREFIX) and separator and section.lower() not in Settings.model_fields:
            msg = f"environment {name}: no such section; allowed are {_keys(Settings)}"
            raise SettingsError(msg)


def _first_line(error: ValidationError) -> str:
    """Return the first problem: key, value, what is allowed."""
    problem = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(map(str, problem["loc"]))
    model, allowed = _field_at(problem["loc"])
    if problem["type"] == "missing":
        return f"{key} is missing; allowed is {allowed}"
    if problem["type"] == "extra_forbidden":
        return f"{key} = {_shown(problem['input'])}: no such key; allowed are {_keys(model)}"
    return f"{key} = {_shown(problem['input'])}: allowed is {allowed}"


def _field_at(location: tuple[int | str, ...]) -> tuple[type[BaseModel], str]:
    """Return the model of the last key on the way and the description of that key."""
    model: type[BaseModel] = Settings
    allowed = "a map"
    for part in location:
        field = _fields(model).get(str(part))
        if field is None:
            continue
        allowed = field.description or allowed
        inner = _model_in(field.annotation)
        model = inner or model
    return model, allowed


def _fields(model: type[BaseModel]) -> Mapping[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _keys(model: type[BaseModel]) -> str:
    return ", ".join(_fields(model))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, also inside a dict."""
    for inner in (annotation, *get_args(annotation)):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return None


def _shown(value: object) -> str:
    """Return a value on one line, cut, without a password."""
    text = _PASSWORD.sub(r"\1:***@", value if isinstance(value, str) else repr(value))
    return text.encode("unicode_escape").decode()[:MAX_VALUE]


def _contradictions(settings: Settings) -> Iterator[str]:
    """Yield what fits each key alone but not the others."""
    node, registry, contracts = settings.node, settings.registry, settings.contracts
    if node.clock_file is not None and not node.bind.is_loopback:
        yield (
            f"node.clock_file = {node.clock_file}: allowed only when node.bind is a loopback "
            f"address, not {node.bind.host}"
        )
    if (registry.kind == "static" or registry.serve) and registry.file is None:
        yield "registry.file is missing; allowed is the path of network.yaml"
    if registry.kind != "static":
        yield from _registry_url(settings)
    if contracts.genesis is not None and not settings.hosts_contracts:
        yield f"contracts.genesis = {contracts.genesis}: allowed only with contracts.host here"
    yield from _clearing(settings)
    operator = settings.cascade.grid_operator
    if operator and not {NodeRole.BPP, NodeRole.MARKET} & set(node.roles):
        yield f"cascade.grid_operator = {operator}: allowed only with role bpp or market"


def _clearing(settings: Settings) -> Iterator[str]:
    clearing = settings.contracts.clearing
    executor, scheduler = clearing.executor, clearing.scheduler
    if clearing.model_fields_set and not settings.hosts_contracts:
        yield f"contracts.clearing.executor = {executor}: allowed only with contracts.host here"
    if executor == "dask" and scheduler is None:
        yield "contracts.clearing.scheduler is missing; allowed is the address of a Dask scheduler"
    if executor != "dask" and scheduler is not None:
        yield f"contracts.clearing.scheduler = {scheduler}: allowed only with executor dask"


def _registry_url(settings: Settings) -> Iterator[str]:
    url = settings.registry.url
    if url is None:
        yield "registry.url is missing; allowed is the https URL of the registry"
    elif url.startswith("http:") and settings.node.is_public and not settings.protocol.allow_http:
        yield f"registry.url = {url}: allowed is https, or protocol.allow_http: true"
