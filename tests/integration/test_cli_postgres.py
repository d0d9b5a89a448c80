"""`p2ptrade doctor` and `ledger verify` of a node on PostgreSQL."""

import base64
import json
from pathlib import Path

import pytest
import yaml

from adapter.store.postgres import PostgresStore
from tests.fakes.command_line import p2ptrade
from tests.fakes.postgres import PostgresServer


def config(folder: Path, url: str) -> Path:
    """Return node.yaml of a node that is its own registry."""
    seed = folder / "node.seed"
    seed.write_text(base64.b64encode(bytes(range(32))).decode())
    seed.chmod(0o600)
    (folder / "network.yaml").write_text("participants: []\n")
    file = folder / "node.yaml"
    node = {"subscriber_id": "registry.example", "key_id": "k1", "seed_file": "node.seed"}
    file.write_text(
        yaml.safe_dump(
            {
                "node": {**node, "roles": [], "base_url": "http://127.0.0.1:9100"},
                "database": {"url": url},
                "registry": {"kind": "static", "file": "network.yaml", "serve": True},
            }
        )
    )
    return file


def found(file: Path, check: str) -> tuple[bool, str]:
    """Return what `doctor` says of one thing."""
    lines = p2ptrade("doctor", "--config", str(file), "--json").stdout.splitlines()
    [line] = [json.loads(line) for line in lines if json.loads(line)["check"] == check]
    return line["ok"], line["text"]


async def test_a_database_before_and_after_the_first_start(
    durable_server: PostgresServer, tmp_path: Path
) -> None:
    url = durable_server.fresh_url()
    file = config(tmp_path, url)
    ok, text = found(file, "database")
    assert ok, text
    assert "PostgreSQL" in text
    assert "migrations come at the next start" in text
    assert found(file, "roots")[0]
    await PostgresStore(url).close()
    ok, text = found(file, "database")
    assert ok, text
    assert text.endswith("up to date")
    ok, text = found(file, "roots")
    assert ok, text
    verified = p2ptrade("ledger", "verify", "--config", str(file), "--json")
    assert json.loads(verified.stdout)["entries"] == 0


def test_a_server_that_forgets_is_told(postgres_server: PostgresServer, tmp_path: Path) -> None:
    ok, text = found(config(tmp_path, postgres_server.fresh_url()), "database")
    assert not ok
    assert "in a power cut: fsync" in text


@pytest.mark.parametrize("check", ["database", "roots"])
def test_a_server_out_of_reach_is_told(tmp_path: Path, check: str) -> None:
    ok, text = found(config(tmp_path, "postgresql://user:secret@127.0.0.1:1/db"), check)
    assert not ok
    assert "127.0.0.1:1/db cannot be opened" in text
    assert "secret" not in text


def test_a_database_of_another_program_cannot_be_verified(postgres_server: PostgresServer) -> None:
    url = postgres_server.fresh_url()
    schema = url.rpartition("%3D")[2]
    postgres_server.run(f"CREATE TABLE {schema}.photos (a BIGINT)")
    ran = p2ptrade("ledger", "verify", "--database", url)
    assert ran.returncode == 1
    assert "another program" in ran.stderr
