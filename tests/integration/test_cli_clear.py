"""`p2ptrade clear` and `clear-curves`: JSON, tables, drawings, and files that are no book."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from adapter.cli.main import app

BOOK_A = """\
id,side,quantity_kwh,price
1,sell,5,4.00
2,buy,6,8.00
3,sell,6,6.00
4,buy,3,6.40
5,sell,4,5.00
6,buy,5,6.50
7,sell,3,7.50
8,buy,4,5.50
"""
"""The worked book of the settlement specification, section 9.2."""

LOAD = {
    "id": "load",
    "currency": "EUR",
    "minExport": -50,
    "maxExport": 0,
    "curve": [{"price": 0.06, "powerKW": -50}, {"price": 0.07, "powerKW": 0}],
}
PV = {
    "id": "pv",
    "currency": "EUR",
    "minExport": "0",
    "maxExport": "5",
    "curve": [
        {"price": "0.05", "powerKW": "0"},
        {"price": 0.06, "powerKW": 2},
        {"price": 0.07, "powerKW": 5},
    ],
}
SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Ran:
    """What a command printed and how it ended."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run(*arguments: object, stdin: bytes = b"") -> Ran:
    """Run a command in this process, which is many times faster; what it raises is raised here."""
    result = CliRunner().invoke(
        app,
        list(map(str, arguments)),
        prog_name="p2ptrade",
        input=stdin,
        catch_exceptions=False,
    )
    return Ran(result.exit_code, result.stdout_bytes, result.stderr_bytes)


def run_alone(*arguments: object, stdin: bytes = b"") -> Ran:
    """Run a command as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "adapter", *map(str, arguments)],
        capture_output=True,
        check=False,
        input=stdin,
    )
    assert b"Traceback" not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def cleared(book: str, *options: object) -> dict[str, Any]:
    """Return the JSON document about a book."""
    done = run("clear", "-", "--json", *options, stdin=book.encode())
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows_of(book: str) -> list[dict[str, str]]:
    names, *lines = (line.split(",") for line in book.splitlines())
    return [dict(zip(names, line, strict=True)) for line in lines]


def pairs(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["sell"], one["buy"], one["quantity_kwh"]) for one in found["trades"]]


A_PAIRS = [("1", "2", "5"), ("5", "2", "1"), ("5", "6", "3"), ("3", "6", "2"), ("3", "4", "3")]


def test_book_a() -> None:
    done = run_alone("clear", "-", "--json", stdin=BOOK_A.encode())
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert list(found) == ["rule", "price", "volume_kwh", "trades", "fills"]
    assert (found["rule"], found["price"], found["volume_kwh"]) == ("uniform", "6", "14")
    assert pairs(found) == A_PAIRS
    assert {one["price"] for one in found["trades"]} == {"6"}
    assert found["fills"] == dict(zip("12345678", "56534500", strict=True))


def test_book_b_from_a_json_file(tmp_path: Path) -> None:
    # order 3 of 5 kWh: halfway between 6.00 and 6.40
    rows: list[dict[str, Any]] = list(rows_of(BOOK_A.replace("sell,6,6.00", "sell,5.000,6.00")))
    rows[0] = {"id": 1, "side": "sell", "quantity_kwh": 5, "price": 4.0}
    file = tmp_path / "book.json"
    file.write_text(json.dumps(rows))
    done = run("clear", file, "--json")
    found = json.loads(done.stdout)
    assert (found["price"], found["volume_kwh"]) == ("6.2", "14")
    assert pairs(found) == A_PAIRS


@pytest.mark.parametrize(
    ("rule", "prices"),
    [
        pytest.param("seller_ask", ["4", "5", "5", "6", "6"], id="asks"),
        pytest.param("pay_as_bid_midpoint", ["6", "6.5", "5.75", "6.25", "6.2"], id="midpoints"),
    ],
)
def test_rules_without_one_price(rule: str, prices: list[str]) -> None:
    found = cleared(BOOK_A, "--rule", rule)
    assert (found["rule"], found["price"], found["volume_kwh"]) == (rule, None, "14")
    assert [one["price"] for one in found["trades"]] == prices


def test_the_tick_rounds_the_midpoint_down() -> None:
    book = "id,side,quantity_kwh,price\na,sell,0.000001,0.10\nb,buy,0.000001,0.13\n"
    assert cleared(book)["price"] == "0.115"
    assert cleared(book, "--tick", "0.01")["price"] == "0.11"
    assert cleared(book)["volume_kwh"] == "0.000001"


@pytest.mark.parametrize(
    "book",
    [
        pytest.param("id,side,quantity_kwh,price\n", id="no order"),
        pytest.param("[]", id="empty list"),
        pytest.param("\ufeffprice,id,side,quantity_kwh,note\r\n4,a,sell,1,x\r\n\r\n", id="one"),
        pytest.param("id,side,quantity_kwh,price\na,sell,1,4\nb,buy,1,3", id="no crossing"),
    ],
)
def test_nothing_trades(book: str) -> None:
    found = cleared(book)
    assert (found["price"], found["volume_kwh"], found["trades"]) == (None, "0", [])
    assert set(found["fills"].values()) <= {"0"}


HEAD = "id,side,quantity_kwh,price\na,sell,1,4\n"


@pytest.mark.parametrize(
    ("book", "message"),
    [
        pytest.param(HEAD + "b,buy,-1,5", "row 2", id="negative quantity"),
        pytest.param(HEAD + "b,buy,0,5", "row 2", id="no quantity"),
        pytest.param(HEAD + "b,buy,1000000.000001,5", "row 2", id="quantity beyond"),
        pytest.param(HEAD + "b,buy,1,-5", "row 2", id="negative price"),
        pytest.param(HEAD + "b,both,1,5", "row 2: side 'both'", id="unknown side"),
        pytest.param(HEAD + "a,buy,1,5", "row 2: id 'a' repeats that of order 1", id="same id"),
        pytest.param(HEAD + ",buy,1,5", "row 2", id="no id"),
        pytest.param(HEAD + "b,buy,1.0000001,5", "row 2", id="seven decimals"),
        pytest.param(HEAD + "b,buy,1,1e2", "row 2", id="exponent"),
        pytest.param(HEAD + "b,buy,1_0,5", "row 2", id="underscore"),
        pytest.param(HEAD + "b,buy,\u0661,5", "row 2", id="digits of another script"),
        pytest.param(HEAD + "b,buy,nan,5", "row 2", id="not a number"),
        pytest.param(HEAD + "b,buy," + "9" * 5_000 + ",5", "row 2", id="5,000 digits"),
        pytest.param(HEAD + "b,buy,1", "row 2 (line 3)", id="a cell short"),
        pytest.param(HEAD + 'b,"buy,1,5', "row 2", id="open quote"),
        pytest.param(HEAD + "b,buy,1,5\0", "row 2", id="zero byte"),
        pytest.param("id,side,price\n", "quantity_kwh", id="no column"),
        pytest.param("", "header", id="empty file"),
        pytest.param("[1]", "row 1", id="a number for a row"),
        pytest.param("{}", "JSON list", id="an object"),
        pytest.param("[{]", "SCH_INVALID_JSON", id="not JSON"),
        pytest.param("[" * 9_000, "SCH_INVALID_JSON", id="deep JSON"),
        pytest.param('[{"id":"a","side":"buy","price":1}]', "row 1", id="key missing"),
        pytest.param(
            '[{"id":"a","side":"buy","price":1,"quantity_kwh":true}]', "row 1", id="a truth value"
        ),
        pytest.param(
            '[{"id":"a","side":7,"price":1,"quantity_kwh":1}]', "row 1: side", id="side a number"
        ),
        pytest.param(
            '[{"id":["a"],"side":"buy","price":1,"quantity_kwh":1}]', "row 1: id", id="id a list"
        ),
        pytest.param(
            '[{"id":"a","side":"buy","price":null,"quantity_kwh":1}]', "row 1: price", id="null"
        ),
    ],
)
def test_what_is_no_book_is_refused(book: str, message: str) -> None:
    done = run("clear", "-", "--json", stdin=book.encode())
    assert (done.returncode, done.stdout) == (1, b"")
    assert message in done.stderr.decode()
    assert len(done.stderr) < 400


@pytest.mark.parametrize(
    ("command", "stdin", "code"),
    [
        pytest.param("clear", HEAD + "b,buy,-1,5", 1, id="a row"),
        pytest.param("clear", "[" * 9_000, 1, id="deep JSON"),
        pytest.param("clear-curves", "[{}]", 1, id="a curve"),
    ],
)
def test_refusals_of_a_process_of_its_own(command: str, stdin: str, code: int) -> None:
    done = run_alone(command, "-", stdin=stdin.encode())
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.startswith(b"p2ptrade: ")
    assert run_alone(command, "-", "--no-such-option").returncode == 2


def test_bytes_that_are_no_text_are_refused() -> None:
    done = run("clear", "-", stdin=HEAD.encode() + b"\xff,buy,1,1")
    assert (done.returncode, b"row 2 (line 3)" in done.stderr) == (1, True)


def test_a_price_off_the_tick_is_refused() -> None:
    done = run("clear", "-", "--tick", "0.25", stdin=BOOK_A.encode())
    assert done.returncode == 1
    assert b"row 4: the price is no multiple of the tick, 0.25" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--rule", "first_come"], id="rule"),
        pytest.param(["--tick", "0"], id="tick of nothing"),
        pytest.param(["--tick", "-0.01"], id="negative tick"),
        pytest.param(["--tick", "cent"], id="tick in words"),
        pytest.param(["--plot", "/nowhere/at/all.svg"], id="plot into no folder"),
        pytest.param(["--plot", "."], id="plot into a folder"),
        pytest.param(["--no-such-option"], id="option"),
    ],
)
def test_wrong_usage(options: list[str]) -> None:
    assert run("clear", "-", *options, stdin=BOOK_A.encode()).returncode == 2


@pytest.mark.parametrize("command", ["clear", "clear-curves"])
def test_files_that_cannot_be_read(command: str, tmp_path: Path) -> None:
    assert run(command, tmp_path / "missing.json").returncode == 2
    assert run(command, tmp_path).returncode == 2
    assert run(command).returncode == 2
    assert run(command, "/dev/zero").returncode == 2


def test_a_book_for_people() -> None:
    book = BOOK_A.replace("8,buy", "\x1b[31mred,buy")
    text = run("clear", "-", stdin=book.encode()).stdout.decode()
    assert "rule uniform: price 6 per kWh, volume 14 kWh" in text
    assert "seller's order" in text
    assert "\x1b" not in text


def test_a_long_book_is_cut_for_people() -> None:
    rows = "".join(f"s{number},sell,1,4\n" for number in range(30))
    done = run("clear", "-", stdin=f"id,side,quantity_kwh,price\n{rows}".encode())
    assert "and 10 more; --json has all" in done.stdout.decode()
    assert "nothing trades" in done.stdout.decode()


def drawing(file: Path) -> tuple[str, ElementTree.Element]:
    """Return the texts of an SVG, and the SVG."""
    root = ElementTree.parse(file).getroot()
    return " | ".join(text.text or "" for text in root.iter(f"{SVG}text")), root


def test_a_drawn_book(tmp_path: Path) -> None:
    file = tmp_path / "book.svg"
    done = run("clear", "-", "--json", "--plot", file, stdin=BOOK_A.encode())
    assert done.returncode == 0
    texts, root = drawing(file)
    for text in ("price 6 per kWh, volume 14 kWh", "supply", "demand", "quantity in kWh"):
        assert text in texts
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    assert root.find(f"{SVG}title") is not None


@pytest.mark.parametrize(
    ("book", "circles"),
    [
        pytest.param("id,side,quantity_kwh,price\n", 0, id="empty"),
        pytest.param(HEAD, 0, id="one order"),
        pytest.param(HEAD + "b,buy,1,4\n", 1, id="one price"),
    ],
)
def test_small_books_are_drawn_too(book: str, circles: int, tmp_path: Path) -> None:
    file = tmp_path / "book.svg"
    rule = ["--rule", "seller_ask"]
    assert run("clear", "-", *rule, "--plot", file, stdin=book.encode()).returncode == 0
    assert len(list(drawing(file)[1].iter(f"{SVG}circle"))) == circles


def test_curve_example_c1(tmp_path: Path) -> None:
    # contract specification, section 10.2
    file = tmp_path / "curves.json"
    file.write_text(json.dumps([LOAD, PV]))
    done = run_alone("clear-curves", file, "--json", "--plot", tmp_path / "curves.svg")
    assert json.loads(done.stdout) == {
        "price": "0.069057",
        "price_exact": "183/2650",
        "volume_kw": "4.716981",
        "cleared_power_kw": {"load": "-4.716981", "pv": "4.716981"},
    }
    texts, _ = drawing(tmp_path / "curves.svg")
    assert "price 0.069057 per kWh (exactly 183/2650), volume 4.716981 kW" in texts
    people = run("clear-curves", file).stdout.decode()
    assert "exactly 183/2650" in people
    assert "-50 to 0" in people


@pytest.mark.parametrize("curves", [[], [PV]], ids=["none", "nobody buys"])
def test_no_clearing(curves: list[dict[str, Any]], tmp_path: Path) -> None:
    plot = tmp_path / "curves.svg"
    stdin = json.dumps(curves).encode()
    done = run("clear-curves", "-", "--json", "--plot", plot, stdin=stdin)
    found = json.loads(done.stdout)
    assert (done.returncode, found["price"], found["price_exact"]) == (0, None, None)
    assert found["volume_kw"] == "0"
    assert found["cleared_power_kw"] == {curve["id"]: "0" for curve in curves}
    assert plot.exists()


def test_many_curves_are_cleared_by_arrays() -> None:
    # sixty times C1: the same price and the same powers, each load rounded towards zero
    curves = [{**one, "id": f"{one['id']}{turn}"} for turn in range(60) for one in (LOAD, PV)]
    done = run("clear-curves", "-", "--json", stdin=json.dumps(curves).encode())
    found = json.loads(done.stdout)
    assert (found["price"], found["price_exact"]) == ("0.069057", "183/2650")
    expected = {"load": "-4.716981", "pv": "4.716981"}
    assert found["cleared_power_kw"] == {
        f"{name}{turn}": power for turn in range(60) for name, power in expected.items()
    }


def test_many_curves_out_of_bounds_are_refused() -> None:
    far = [
        {
            **PV,
            "id": str(turn),
            "maxExport": 10**7,
            "curve": [{"price": 0, "powerKW": 0}, {"price": 1, "powerKW": 10**7}],
        }
        for turn in range(60)
    ]
    done = run("clear-curves", "-", stdin=json.dumps(far).encode())
    assert (done.returncode, b"P2P_CURVE_BOUNDS" in done.stderr) == (1, True)


STORE_POINTS = [{"price": 0.05, "powerKW": -2}, {"price": 0.09, "powerKW": 2}]


def test_storage_gives_and_is_drawn(tmp_path: Path) -> None:
    # -2 to 2 kW over 0.05 to 0.09: 1 kW at 0.08
    store = {**PV, "id": "store", "minExport": -2, "maxExport": 2, "curve": STORE_POINTS}
    points = [{"price": 0.2, "powerKW": -1}, {"price": 0.2, "powerKW": 0}]
    load = {**LOAD, "minExport": -1, "curve": points}
    plot = tmp_path / "curves.svg"
    stdin = json.dumps([store, load]).encode()
    found = json.loads(run("clear-curves", "-", "--json", "--plot", plot, stdin=stdin).stdout)
    assert found["price"] == "0.08"
    assert found["cleared_power_kw"] == {"store": "1", "load": "-1"}
    assert plot.exists()


def changed(**values: Any) -> list[dict[str, Any]]:
    """Return the curves of C1 with another PV."""
    return [LOAD, {**PV, **values}]


POINT = {"price": 0.05, "powerKW": 0}


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        pytest.param(
            changed(minExport=0, maxExport=0, curve=[POINT]), "P2P_CURVE_RANGE", id="empty range"
        ),
        pytest.param(
            changed(curve=[{"price": 0.06, "powerKW": 0}, {"price": 0.05, "powerKW": 5}]),
            "P2P_CURVE_ORDER",
            id="falling price",
        ),
        pytest.param(changed(maxExport=6), "P2P_CURVE_ENDS", id="other end"),
        pytest.param(
            changed(curve=[POINT, {"price": 0.06, "powerKW": 7}, {"price": 0.07, "powerKW": 5}]),
            "P2P_CURVE_",
            id="beyond the range",
        ),
        pytest.param(changed(currency="INR"), "P2P_CURRENCY_MISMATCH", id="two currencies"),
        pytest.param(changed(currency=None), "currency", id="no currency"),
        pytest.param(changed(curve=[]), "curve is not a list", id="no points"),
        pytest.param(changed(curve=[1]), "a point is not", id="a number for a point"),
        pytest.param(changed(curve=[{"price": 0.05}]), "powerKW is missing", id="no power"),
        pytest.param(
            changed(curve=[{**POINT, "price": 0.0000001}]), "six decimals", id="seven decimals"
        ),
        pytest.param(changed(curve=[{**POINT, "price": -1}]), "negative", id="negative price"),
        pytest.param(changed(minExport="a lot"), "minExport", id="a word for a power"),
        pytest.param(changed(id="load"), "not unique", id="same id"),
    ],
)
def test_curves_that_break_a_rule_are_refused(curves: Any, message: str) -> None:
    done = run("clear-curves", "-", "--json", stdin=json.dumps(curves).encode())
    assert (done.returncode, done.stdout) == (1, b"")
    assert message in done.stderr.decode()
    assert f"curve '{curves[1]['id']}'" in done.stderr.decode()


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[{}]", '[{"id":""}]', "[NaN]", "[" * 9_000])
def test_what_are_no_curves_is_refused(text: str) -> None:
    done = run("clear-curves", "-", stdin=text.encode())
    assert (done.returncode, done.stdout) == (1, b"")
