"""`p2ptrade ledger verify`, `prove` and `check-proof` on the database of a real trade."""

import asyncio
import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapter.store.audit import audit_sqlite
from tests.fakes.command_line import p2ptrade
from tests.fakes.ledger_host import cosigner_of
from tests.fakes.web import open_web
from tests.integration.test_ledger_audit import host_key, traded

EPOCH_ENTRIES = "SELECT seq, body FROM ledger_entries ORDER BY seq"


class Kept:
    """What a trade has left behind: databases and what parties and auditors downloaded."""

    def __init__(self, folder: Path) -> None:
        self.grid = folder / "grid_operator.db"
        self.bap = folder / "bap.db"
        self.roots = folder / "roots.json"
        self.journal = folder / "journal.jsonl"
        self.contract_id = ""
        self.public_key = ""


async def made_in(folder: Path) -> Kept:
    kept = Kept(folder)
    async with open_web(folder) as web:
        kept.contract_id = await traded(web)
        kept.public_key = host_key(web)
        for node in (web.network.bap, web.network.bpp):
            await cosigner_of(node, web.grid)[0].look()
        await web.network.call(
            "treasury", "token", "deposit", to="bob", amount="1", external_reference="last"
        )
        headers = web.operators["rec"]
        kept.roots.write_bytes((await web.grid.get("/contracts/roots", headers=headers)).content)
        answer = await web.grid.get("/contracts/journal", headers=headers)
        kept.journal.write_bytes(answer.content)
    return kept


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return asyncio.run(made_in(tmp_path_factory.mktemp("ledger")))


@pytest.fixture
def kept(made: Kept, tmp_path: Path) -> Kept:
    """Give copies that a test may spoil."""
    copy = Kept(tmp_path)
    for name in ("grid", "bap", "roots", "journal"):
        shutil.copy(getattr(made, name), getattr(copy, name))
    copy.contract_id, copy.public_key = made.contract_id, made.public_key
    return copy


def url(file: Path) -> str:
    return f"sqlite:///{file}"


def verified(*options: str) -> tuple[int, dict[str, Any]]:
    ran = p2ptrade("ledger", "verify", *options, "--json")
    document: dict[str, Any] = json.loads(ran.stdout) if ran.stdout else {"error": ran.stderr}
    return ran.returncode, document


def written(file: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        assert connection.execute(sql, values).rowcount == 1


def flipped(data: bytes, position: int, mask: int = 1) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def rows(file: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


# verify


def test_a_database_after_a_trade_is_fine(kept: Kept) -> None:
    code, document = verified("--database", url(kept.grid))
    assert (code, document["ok"], document["signed_statements"]) == (0, True, 2)
    ran = p2ptrade("ledger", "verify", "--database", url(kept.grid))
    assert "verified" in ran.stdout


def test_one_flipped_byte_in_any_row_of_the_journal_names_that_entry(kept: Kept) -> None:
    chance = random.Random(20_261_120)
    for seq, body in rows(kept.grid, EPOCH_ENTRIES):
        for mask in (0x01, 0x10):
            bad = flipped(body, chance.randrange(len(body)), mask)
            written(kept.grid, "UPDATE ledger_entries SET body = ? WHERE seq = ?", bad, seq)
            verdict = audit_sqlite(kept.grid).verdict
            assert (verdict.ok, verdict.bad_seq) == (False, seq), verdict.why
        written(kept.grid, "UPDATE ledger_entries SET body = ? WHERE seq = ?", body, seq)
    assert audit_sqlite(kept.grid).verdict.ok


def test_the_command_names_the_entry_and_why(kept: Kept) -> None:
    [(body,)] = rows(kept.grid, "SELECT body FROM ledger_entries WHERE seq = 7")
    bad = flipped(body, len(body) // 2)
    written(kept.grid, "UPDATE ledger_entries SET body = ? WHERE seq = 7", bad)
    code, document = verified("--database", url(kept.grid))
    assert (code, document["ok"], document["bad_seq"]) == (1, False, 7)
    ran = p2ptrade("ledger", "verify", "--database", url(kept.grid))
    assert "first bad     entry 7: " in ran.stdout


@pytest.mark.parametrize(
    ("sql", "bad_seq"),
    [
        ("UPDATE ledger_entries SET time_ms = time_ms + 1 WHERE seq = 5", 5),
        (f"UPDATE ledger_entries SET hash = '{'0' * 64}' WHERE seq = 5", 5),
        ("DELETE FROM ledger_entries WHERE seq = 5", 5),
        ("UPDATE ledger_entries SET seq = 999 WHERE seq = 5", 5),
        ("UPDATE ledger_accounts SET posted = posted + 1 WHERE id = 'bob|USD|MAIN'", None),
    ],
)
def test_what_stands_beside_the_bytes_is_checked_too(
    kept: Kept, sql: str, bad_seq: int | None
) -> None:
    written(kept.grid, sql)
    code, document = verified("--database", url(kept.grid))
    assert code == 1
    assert document["bad_seq"] == (len(rows(kept.grid, EPOCH_ENTRIES)) - 1) if not bad_seq else 5


def columns(file: Path, table: str, key: str) -> Iterator[tuple[str, str, Any]]:
    """Give (key, column, value) of every value in a table."""
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute(f"SELECT * FROM {table}").fetchall():
            for name in row.keys():  # noqa: SIM118 - a row iterates over its values
                yield str(row[key]), name, row[name]


def test_no_value_of_a_kept_statement_can_be_changed(kept: Kept) -> None:
    for table, key in (("root_statement", "hash"), ("root_countersignature", "key_id")):
        for name, column, value in list(columns(kept.grid, table, key)):
            if table == "root_countersignature" and column == "statement":
                continue  # a key that SQLite itself keeps
            changed: Any
            if isinstance(value, int):
                changed = value + 1
            elif isinstance(value, bytes):
                changed = flipped(value, len(value) // 2)
            else:
                changed = flipped(value.encode(), len(value) // 2).decode() if value else "x"
            spoiled = kept.grid.with_name("spoiled.db")
            shutil.copy(kept.grid, spoiled)
            with closing(sqlite3.connect(spoiled)) as connection, connection:
                sql = f"UPDATE {table} SET {column} = ? WHERE {key} = ? AND {column} = ?"
                connection.execute(sql, (changed, name, value))
            verdict = audit_sqlite(spoiled).verdict
            assert not verdict.ok, (table, column)
            assert verdict.why.startswith("6 roots"), (table, column, verdict.why)


def test_a_statement_taken_away_is_missed(kept: Kept) -> None:
    first = rows(kept.grid, "SELECT hash FROM root_statement ORDER BY last_epoch")[0][0]
    with closing(sqlite3.connect(kept.grid)) as connection, connection:
        connection.execute("DELETE FROM root_countersignature WHERE statement = ?", (first,))
        connection.execute("DELETE FROM root_statement WHERE hash = ?", (first,))
    code, document = verified("--database", url(kept.grid))
    assert (code, document["why"][:7]) == (1, "6 roots")


def test_a_journal_that_was_cut_off_is_found_by_the_copy_of_a_party(kept: Kept) -> None:
    """Everything that the host keeps is rolled back; the party's statement tells."""
    [(last,)] = rows(kept.bap, "SELECT max(last_epoch) FROM root_statement")
    head = rows(kept.grid, EPOCH_ENTRIES)[-4][0]
    lines = kept.journal.read_bytes().splitlines(keepends=True)[: head + 1]
    kept.journal.write_bytes(b"".join(lines))
    code, _ = verified("--journal", str(kept.journal))
    assert code == 0  # in itself it is sound
    statement = json.loads(kept.roots.read_bytes())["roots"][-1]
    assert statement["statement"]["last_epoch"] == last
    file = kept.roots.with_name("statement.json")
    file.write_text(json.dumps(statement))
    code, document = verified("--journal", str(kept.journal), "--statement", str(file))
    assert (code, document["bad_seq"]) == (1, head + 1)
    assert document["why"].startswith("7 truncation")


def test_journal_and_roots_in_files_are_checked_without_a_database(kept: Kept) -> None:
    options = ("--journal", str(kept.journal), "--roots", str(kept.roots))
    code, document = verified(*options)
    assert (code, document["signed_statements"]) == (0, 2), document
    page = json.loads(kept.roots.read_bytes())
    lines = "".join(f"{json.dumps(root)}\n" for root in page["roots"])
    kept.roots.write_text(lines)
    assert verified(*options)[0] == 0
    whole = kept.journal.read_bytes()
    kept.journal.write_bytes(flipped(whole, len(whole) // 2))
    code, document = verified(*options)
    assert (code, document["ok"]) == (1, False)
    assert isinstance(document["bad_seq"], int)


def test_a_copy_of_a_newer_statement_shows_a_restored_backup(kept: Kept) -> None:
    file = kept.roots.with_name("statement.json")
    file.write_bytes(kept.roots.read_bytes())
    code, document = verified("--database", url(kept.grid), "--statement", str(file))
    assert (code, document["signed_statements"]) == (0, 4)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--roots", "x"), 2),
        (("--journal", "x", "--database", "sqlite:///x"), 2),
        (("--journal", "/none"), 2),
        (("--database", "sqlite:////none.db"), 1),
    ],
)
def test_wrong_usage_is_told_from_a_finding(options: tuple[str, ...], code: int) -> None:
    assert p2ptrade("ledger", "verify", *options).returncode == code


def test_a_file_without_statements_is_refused(kept: Kept) -> None:
    for text in ("", "{}", "[]", "x", '{"roots": [1]}'):
        kept.roots.write_text(text)
        options = ("--journal", str(kept.journal), "--roots", str(kept.roots))
        assert p2ptrade("ledger", "verify", *options).returncode == 1


def test_the_database_of_a_party_holds_no_ledger(kept: Kept) -> None:
    code, document = verified("--database", url(kept.bap))
    assert (code, document["entries"]) == (0, 0)


# prove and check-proof


def test_a_trade_is_proven_and_the_proof_checked_with_the_public_key(kept: Kept) -> None:
    ran = p2ptrade("ledger", "prove", kept.contract_id, "--database", url(kept.grid))
    assert ran.returncode == 0, ran.stderr
    file = kept.roots.with_name("proof.json")
    file.write_text(ran.stdout)
    checked = p2ptrade("ledger", "check-proof", str(file), "--public-key", kept.public_key)
    assert checked.returncode == 0, checked.stdout
    assert f"proven        agreement {kept.contract_id}" in checked.stdout
    assert "bap.buyer.example|k1|ed25519, bpp.seller.example|k1|ed25519" in checked.stdout
    options = ("--public-key", kept.public_key, "--json")
    document = json.loads(p2ptrade("ledger", "check-proof", str(file), *options).stdout)
    assert document["ok"]
    assert document["derived"]["settled"][0]["value"] == "1.50"


def test_a_proof_that_was_tampered_with_is_refused(kept: Kept) -> None:
    ran = p2ptrade("ledger", "prove", kept.contract_id, "--database", url(kept.grid))
    file = kept.roots.with_name("proof.json")
    file.write_text(ran.stdout.replace("1500000", "1400000"))
    key = ("--public-key", kept.public_key)
    checked = p2ptrade("ledger", "check-proof", str(file), *key)
    assert (checked.returncode, checked.stdout[:11]) == (1, "not proven ")
    document = json.loads(p2ptrade("ledger", "check-proof", str(file), *key, "--json").stdout)
    assert document["ok"] is False


def test_an_unknown_trade_cannot_be_proven(kept: Kept) -> None:
    ran = p2ptrade("ledger", "prove", "none", "--database", url(kept.grid))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "no trade none" in ran.stderr
