"""Bodies of our own endpoints: read strictly, then checked by pydantic, described in OpenAPI.

Numbers come as JSON numbers or decimal strings and are exact from the first byte on: the strict
decoder gives int and Decimal, pydantic never sees a binary fraction.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from adapter.domain.currencies import ISO_4217_ACTIVE
from adapter.domain.errors import QuantityError
from adapter.domain.instants import EPOCH_MS, parse_instant
from adapter.domain.quantities import MAX_MICRO, to_micro
from adapter.web.errors import validation_error

M = TypeVar("M", bound="Body")

_DECIMAL = r"^[0-9]{1,13}(\.[0-9]{1,6})?$"
_SIGNED_DECIMAL = r"^-?[0-9]{1,13}(\.[0-9]{1,6})?$"
NUMBER_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DECIMAL}],
}
SIGNED_NUMBER_SCHEMA = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": _SIGNED_DECIMAL}],
}
_TIME_SCHEMA = {"type": "string", "format": "date-time"}


def _read_micro(value: object) -> int:
    """Return a JSON number or decimal string in millionths."""
    micro = _micro_of(value, "2.5, without sign or exponent", signed=False)
    if not 0 <= micro <= MAX_MICRO:
        msg = "expected 0 to 1000000"
        raise ValueError(msg)
    return micro


def _read_signed_micro(value: object) -> int:
    """Return a JSON number or decimal string, which may be negative, in millionths."""
    micro = _micro_of(value, "-2.5, without plus or exponent", signed=True)
    if abs(micro) > MAX_MICRO:
        msg = "expected -1000000 to 1000000"
        raise ValueError(msg)
    return micro


def _micro_of(value: object, example: str, *, signed: bool) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        msg = "expected a number or a decimal string"
        raise ValueError(msg)
    if isinstance(value, str) and not _is_plain(value.removeprefix("-") if signed else value):
        msg = f"expected a decimal string such as {example}"
        raise ValueError(msg)
    try:
        return to_micro(value)
    except QuantityError as error:
        raise ValueError(error.message) from None


def _is_plain(text: str) -> bool:
    whole, dot, fraction = text.partition(".")
    digits = whole.isascii() and whole.isdigit() and len(whole) <= 13
    return digits and (not dot or (fraction.isascii() and fraction.isdigit()))


def _positive(micro: int) -> int:
    if micro == 0:
        msg = "expected more than 0"
        raise ValueError(msg)
    return micro


def _read_positive(value: object) -> int:
    return _positive(_read_micro(value))


def _read_instant(value: object) -> int:
    """Return an RFC 3339 date-time with offset in milliseconds."""
    if not isinstance(value, str):
        msg = "expected an RFC 3339 date-time with offset, as text"
        raise ValueError(msg)
    try:
        return parse_instant(value)
    except (ValueError, OverflowError):
        msg = "expected an RFC 3339 date-time with offset"
        raise ValueError(msg) from None


def _read_epoch(value: object) -> int:
    instant_ms = _read_instant(value)
    if instant_ms % EPOCH_MS:
        msg = "expected a full quarter of an hour, UTC"
        raise ValueError(msg)
    return instant_ms


def _read_currency(value: object) -> str:
    if not isinstance(value, str) or value not in ISO_4217_ACTIVE:
        msg = "expected an ISO 4217 code such as USD"
        raise ValueError(msg)
    return value


Micro = Annotated[int, BeforeValidator(_read_micro), WithJsonSchema(NUMBER_SCHEMA)]
"""kWh or currency per kWh, in millionths, 0 included."""
SignedMicro = Annotated[
    int, BeforeValidator(_read_signed_micro), WithJsonSchema(SIGNED_NUMBER_SCHEMA)
]
"""kW in millionths, + export, - withdrawal."""
PositiveMicro = Annotated[int, BeforeValidator(_read_positive), WithJsonSchema(NUMBER_SCHEMA)]
"""The same above 0."""
Instant = Annotated[int, BeforeValidator(_read_instant), WithJsonSchema(_TIME_SCHEMA)]
"""Milliseconds since 1970, UTC."""
Epoch = Annotated[int, BeforeValidator(_read_epoch), WithJsonSchema(_TIME_SCHEMA)]
"""The same at a full quarter of an hour."""
Currency = Annotated[
    str,
    BeforeValidator(_read_currency),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"}),
]
SourceType = Literal["SOLAR", "BATTERY", "GRID", "HYBRID", "RENEWABLE", "WIND", "HYDRO", "BIOMASS"]
ProsumerSource = Literal[
    "SOLAR",
    "BATTERY",
    "GRID",
    "HYBRID",
    "RENEWABLE",
    "WIND",
    "HYDRO",
    "BIOMASS",
    "CONSUMER",
]
"""Of a prosumer, who may have nothing to sell."""
SubscriberId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,255}$")]
MeterId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:@/+-]{1,128}$")]
OfferId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:@+-]{1,100}$")]


class Body(BaseModel):
    """A request body; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def parse_model(content: Mapping[str, Any], model: type[M]) -> M:
    """Return a decoded body.

    Raises:
        WireError: SCH_ codes, all problems in its details.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        located = [{**problem, "loc": ("body", *problem["loc"])} for problem in problems]
        raise validation_error(located) from None


def json_body(schema: Mapping[str, Any], example: Any = None) -> dict[str, Any]:
    """Return what an endpoint that reads its body itself adds to its OpenAPI description."""
    content: dict[str, Any] = {"schema": dict(schema)}
    if example is not None:
        content["example"] = example
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


class ErrorDetails(BaseModel):
    """What went wrong."""

    code: str = Field(description="A published code, never renamed.", examples=["UNAUTHENTICATED"])
    message: str = Field(description="What was wrong, where, and what would be right.")
    details: dict[str, Any] = Field(description="path, cause, errors and others.")


class ErrorBody(BaseModel):
    """Every refusal outside the network's own paths."""

    error: ErrorDetails


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of an endpoint that may refuse with these statuses."""
    return {status: {"model": ErrorBody} for status in statuses}
