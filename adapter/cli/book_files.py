"""Order books from files: CSV or JSON, row by row, every refusal with its row.

Source: interfaces, section 2.4.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from adapter.cli.files import message_files, read_bounded, shown_name
from adapter.cli.output import misuse, refuse, refuse_error
from adapter.domain.errors import AdapterError, QuantityError
from adapter.domain.quantities import to_micro
from adapter.protocol import strict_json
from adapter.settlement.clearing_orders import Order

BYTES_MAX = 2**28
"""A book of two million orders as JSON; more belongs into arrays."""
COLUMNS = ("id", "side", "quantity_kwh", "price")

_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)


class RowError(Exception):
    """A row that is no order."""


def read_file(file: str) -> bytes:
    """Return the bytes of a file, or of standard input for `-`; end the command when it cannot."""
    if Path(file).is_dir():
        misuse(f"{shown_name(file)}: a folder; one file is expected")
    try:
        raw = read_bounded(message_files([file])[0], BYTES_MAX)
    except OSError as error:
        misuse(f"{shown_name(file)}: cannot be read: {error.strerror}")
    if len(raw) > BYTES_MAX:
        refuse(f"{shown_name(file)}: more than {BYTES_MAX} bytes")
    return raw


def read_list(raw: bytes) -> list[Any]:
    """Return the JSON list of a file; end the command when it is none."""
    try:
        value = strict_json.decode(raw)
    except AdapterError as error:
        refuse_error(error)
    if not isinstance(value, list):
        refuse("SCH_SCHEMA_VALIDATION_FAILED: a JSON list is expected")
    return value


def read_orders(file: str) -> list[Order]:
    """Return the orders of a CSV or JSON file; end the command at the first row that is none."""
    raw = read_file(file)
    rows = _json_rows(raw) if _is_json(file, raw) else _csv_rows(raw)
    orders: list[Order] = []
    for place, row in rows:
        try:
            orders.append(_order(row))
        except RowError as error:
            refuse(f"{place}: {error}")
    return orders


def refuse_row(place: int, why: str) -> NoReturn:
    """End the command because of the row at a place, from 0 on."""
    refuse(f"row {place + 1}: {why}")


def _is_json(file: str, raw: bytes) -> bool:
    suffix = Path(file).suffix.lower()
    return suffix == ".json" or (suffix != ".csv" and raw.lstrip()[:1] in {b"[", b"{"})


def _json_rows(raw: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, row in enumerate(read_list(raw), start=1):
        if not isinstance(row, dict):
            refuse(f"row {number}: an object with {', '.join(COLUMNS)} is expected")
        yield f"row {number}", row


def _csv_rows(raw: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        refuse(f"row {max(1, line - 1)} (line {line}): byte {error.start} is not UTF-8")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        names = _header(next(reader, []))
        for cells in reader:
            if not cells:
                continue  # an empty line
            number += 1
            place = f"row {number} (line {reader.line_num})"
            if len(cells) != len(names):
                refuse(f"{place}: {len(cells)} cells, {len(names)} are expected")
            yield place, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        refuse(f"row {number + 1} (line {reader.line_num}): {error}")


def _header(cells: Iterable[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    missing = [name for name in COLUMNS if names.count(name) != 1]
    if missing:
        refuse(f"row 0 (line 1): the header needs {','.join(COLUMNS)}, each once; see {missing[0]}")
    return names


def _order(row: Mapping[str, Any]) -> Order:
    """Return the order of a row; what only a whole book shows is left to clearing.

    Raises:
        RowError: a value that is none.
    """
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        msg = f"{missing[0]} is missing"
        raise RowError(msg)
    side = row["side"]
    if not isinstance(side, str):
        msg = "side is not buy or sell"
        raise RowError(msg)
    quantity, price = (micro(row[name], name) for name in ("quantity_kwh", "price"))
    return Order(_id(row["id"]), side, quantity, price)


def _id(value: object) -> str:
    """Return an id, which is text; a whole number will do."""
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or not value:
        msg = "id is not a text of a character or more"
        raise RowError(msg)
    return value


def micro(value: object, name: str) -> int:
    """Return a JSON number or a decimal string in millionths.

    Raises:
        RowError: it is neither, has more than six decimals or is out of range.
    """
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, bool) or (isinstance(text, str) and not _DECIMAL.fullmatch(text)):
        msg = f"{name} {value!r:.42} is not a decimal number"
        raise RowError(msg)
    try:
        return to_micro(text)  # type: ignore[arg-type]  # what else it is, it refuses
    except (QuantityError, TypeError, ValueError) as error:
        why = error.message if isinstance(error, QuantityError) else "is not a number"
        msg = f"{name}: {why}"
        raise RowError(msg) from None
