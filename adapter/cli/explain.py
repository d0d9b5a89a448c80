"""`p2ptrade explain`: what a contract pays whom, with the numbers put in."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from adapter.cli.files import message_files, read_bounded, shown_name
from adapter.cli.output import FINDINGS, complain, misuse, refuse, refuse_error, say_json
from adapter.cli.tables import Tables
from adapter.cli.terminal import accept_any_text
from adapter.domain.errors import AdapterError, QuantityError
from adapter.domain.quantities import Energy
from adapter.domain.zones import find_zone
from adapter.protocol import explanation, strict_json
from adapter.protocol.explanation import FoundContract, contracts_in
from adapter.protocol.flow_binding import DEFAULT_TIME_ZONE
from adapter.protocol.schemas import Schemas
from adapter.protocol.validation import MAX_BYTES
from adapter.store.documents import load_bundle

CONTRACT_TYPE = "EnergyContractP2PTrade"
DELIVERY_TYPE = "EnergyTradeDelivery"
CONTRACT_PATH = "$.message.order['beckn:orderAttributes']"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def explain(
    file: Annotated[
        str, typer.Argument(help="Message with a contract, a contract alone, or - for stdin.")
    ],
    delivered_kwh: Annotated[
        str | None,
        typer.Option(help="Delivered energy in kWh; what the message's own delivery says."),
    ] = None,
    tz: Annotated[
        str | None, typer.Option(help="Time zone of a tariff whose contract names none; UTC.")
    ] = None,
    contract: Annotated[
        str | None, typer.Option(help="contractId, when a catalogue holds several; the first.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show roles, mode, revenue flows, net positions and trade cap of a contract."""
    accept_any_text()
    delivered = _energy(delivered_kwh)
    zone = _zone(tz)
    found = _chosen(_body(file), contract)
    _check_schema(found)
    try:
        document = explanation.explain(
            found.contract,
            delivered=found.delivered if delivered is None else delivered,
            metered=found.metered if delivered is None else (),
            time_zone=zone,
        )
    except AdapterError as error:
        where = found.path + (error.path or "$").removeprefix("$")
        refuse(f"{error.code} at {where}: {error.message}")
    if as_json:
        say_json(document)
    else:
        _Page(document).show()


def _energy(text: str | None) -> Energy | None:
    if text is None:
        return None
    try:
        energy = Energy.from_kwh(text)
    except QuantityError as error:
        misuse(f"--delivered-kwh: {error.message}")
    if energy.micro_kwh < 0:
        misuse("--delivered-kwh: an energy of zero or more is expected")
    return energy


def _body(file: str) -> dict[str, Any]:
    if Path(file).is_dir():
        misuse(f"{shown_name(file)}: a folder; one file is expected")
    try:
        raw = read_bounded(message_files([file])[0], MAX_BYTES)
    except OSError as error:
        misuse(f"{shown_name(file)}: cannot be read: {error.strerror}")
    if len(raw) > MAX_BYTES:
        refuse(f"SCH_INVALID_FORMAT: {shown_name(file)}: more than {MAX_BYTES} bytes")
    try:
        return strict_json.decode_object(raw)
    except AdapterError as error:
        refuse_error(error)


def _chosen(body: Mapping[str, Any], contract_id: str | None) -> FoundContract:
    found = list(contracts_in(body))
    wanted = [one for one in found if contract_id in {None, one.contract.get("contractId")}]
    if not wanted:
        ids = ", ".join(str(one.contract.get("contractId"))[:40] for one in found[:10])
        what = f"no contract {contract_id} here, only {ids}" if ids else "no contract here"
        refuse(f"SCH_REQUIRED_FIELD_MISSING at {CONTRACT_PATH}: {what}")
    if len(wanted) > 1:
        complain(f"{len(wanted)} contracts, this is the first; choose one with --contract")
    return wanted[0]


def _check_schema(found: FoundContract) -> None:
    schemas = Schemas(load_bundle())
    findings = schemas.check_attributes(CONTRACT_TYPE, found.contract, found.path)
    if found.delivery is not None:
        findings += schemas.check_attributes(DELIVERY_TYPE, found.delivery, found.delivery_path)
    for finding in findings:
        complain(f"{finding.rule or finding.code} at {finding.path}: {finding.message}")
    if findings:
        raise typer.Exit(FINDINGS)


def _zone(name: str | None) -> str:
    if name is not None and find_zone(name) is None:
        misuse(f"--tz: {name[:40]} is no time zone, such as Europe/Paris")
    return name or DEFAULT_TIME_ZONE


class _Page:
    """The document as tables."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._tables = Tables()
        self._line = self._tables.line

    def show(self) -> None:
        """Print everything."""
        document = self._document
        self._line(f"mode {document['mode']}, status {document['status']}")
        self._table("Roles", ("role", "filled by", "inputs"), map(_role_row, document["roles"]))
        headings = ("from", "to", "formula with numbers", ">amount", "")
        self._table("Revenue flows", headings, map(_flow_row, document["flows"]))
        rows = [(party, amount) for party, amount in document["net"].items()]
        self._table("Net positions", ("party", ">position"), rows)
        self._line(f"sum of positions: {'0' if document['net_zero'] else 'not 0'}")
        self._tariff(document.get("tariff"))
        self._cap(document["trade_cap"])

    def _tariff(self, tariff: Mapping[str, Any] | None) -> None:
        if tariff is None:
            return
        names = ("element", "start", "end", "kwh", "price", "amount")
        rows = [tuple(str(leg[name]) for name in names) for leg in tariff["legs"]]
        numbers = tuple(
            f">{name}" if name in {"kwh", "price", "amount"} else name for name in names
        )
        self._table("Tariff", numbers, rows)
        parts = ("unit_price", "total", "vat")
        text = ", ".join(f"{part.replace('_', ' ')} {tariff[part]}" for part in parts)
        if tariff.get("bound"):
            text += f", held at {tariff['bound']}"
        self._line(text + ("; even power assumed" if tariff.get("assumed_profile") else ""))

    def _cap(self, cap: Mapping[str, Any] | None) -> None:
        if cap is None:
            self._line("trade cap: not known")
            return
        verdict = "within" if cap["within"] else "beyond"
        self._line(
            f"trade cap: {cap['contracted_kwh']} kWh contracted, {verdict} the maximum trade of "
            f"{cap['max_trade_kwh']} kWh"
        )

    def _table(self, title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self._tables.table(title, headings, rows, most=None)


def _role_row(role: Mapping[str, Any]) -> tuple[str, str, str]:
    inputs = ", ".join(f"{name} {_short(value)}" for name, value in role["inputs"].items())
    by = role["filled_by"] or ("" if role["filled"] else "open")
    return role["role"], by, inputs


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return "{…}"
    return "[…]" if isinstance(value, list) else str(value)


def _flow_row(flow: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    payer, payee = flow["from"], flow["to"]
    party = flow.get("party")
    if party is not None:
        payer = f"{payer} {party}" if payer == "PROSUMER" else payer
        payee = f"{payee} {party}" if payee == "PROSUMER" else payee
    if flow["bound"]:
        return payer, payee, flow["numbers"], flow["amount"], flow["currency"]
    return payer, payee, flow["numbers"], "open", ""
