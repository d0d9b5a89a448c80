"""Keys, tokens, signing and verifying on the command line; help and exit codes."""

import base64
import hashlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.fakes.command_line import p2ptrade

SEED = bytes(range(32))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def seed_file(tmp_path: Path) -> Path:
    file = tmp_path / "k.seed"
    file.write_text(base64.b64encode(SEED).decode())
    file.chmod(0o600)
    return file


def test_help_names_every_command_and_loads_none_of_them(tmp_path: Path) -> None:
    shown = p2ptrade("--help")
    assert shown.returncode == 0
    for name in ("serve", "demo", "keys", "sign", "verify", "contracts", "ledger", "doctor"):
        assert f"  {name} " in shown.stdout
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "adapter", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    for heavy in ("fastapi", "pydantic", "nacl", "rich", "httpx", "yaml", "msgspec"):
        assert not re.search(rf"\| +{heavy}$", loaded, re.MULTILINE), heavy


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("nothing",), id="unknown command"),
        pytest.param(("keys", "nothing"), id="unknown subcommand"),
        pytest.param(("sign",), id="missing arguments"),
        pytest.param(("demo", "--mode", "nothing"), id="unknown mode"),
        pytest.param(("ledger", "verify"), id="no database named"),
        pytest.param(("ledger", "verify", "--database", "nothing"), id="no database URL"),
        pytest.param(("contracts", "state"), id="no credentials"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_nothing_on_stdout(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    ran = p2ptrade(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_new_key_is_private_and_shows_its_public_part(tmp_path: Path) -> None:
    made = p2ptrade("keys", "new", "k.seed")
    assert made.returncode == 0
    file = tmp_path / "k.seed"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(base64.b64decode(file.read_text())) == 32
    shown = p2ptrade("keys", "show", "k.seed", "--json")
    assert json.loads(shown.stdout)["signing_public_key"] == made.stdout.strip()


def test_an_existing_key_is_never_overwritten(tmp_path: Path, seed_file: Path) -> None:
    before = seed_file.read_text()
    ran = p2ptrade("keys", "new", str(seed_file))
    assert (ran.returncode, ran.stdout, seed_file.read_text()) == (1, "", before)


def test_a_key_that_others_may_read_is_named(tmp_path: Path, seed_file: Path) -> None:
    seed_file.chmod(0o644)
    ran = p2ptrade("keys", "show", str(seed_file))
    assert ran.returncode == 0
    assert "chmod 600" in ran.stderr


def test_a_token_is_printed_once_and_stored_as_its_hash(tmp_path: Path) -> None:
    first = p2ptrade("keys", "token", "tokens.yaml")
    second = p2ptrade(
        *("keys", "token", "tokens.yaml", "--scope", "operator", "--actor", "treasury", "--json"),
    )
    token = first.stdout.strip()
    made = json.loads(second.stdout)
    file = tmp_path / "tokens.yaml"
    assert yaml.safe_load(file.read_text()) == [
        {"sha256": hashlib.sha256(token.encode()).hexdigest(), "scope": "application"},
        {"sha256": made["sha256"], "scope": "operator", "actor": "treasury"},
    ]
    assert made["sha256"] == hashlib.sha256(made["token"].encode()).hexdigest()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{}", id="no list"),
        pytest.param("- abc", id="no map"),
        pytest.param("- {sha256: abc, scope: application}", id="no hash"),
        pytest.param(f"- {{sha256: {'a' * 64}, scope: root}}", id="no scope"),
        pytest.param(f"- {{sha256: {'a' * 64}, scope: operator, x: 1}}", id="unknown key"),
        pytest.param("- {", id="no YAML"),
    ],
)
def test_a_broken_tokens_file_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text(content)
    ran = p2ptrade("keys", "token", "tokens.yaml")
    assert (ran.returncode, ran.stdout, file.read_text()) == (1, "", content)
    assert ran.stderr.count("\n") == 1


def test_a_signed_file_verifies_and_a_changed_byte_does_not(
    tmp_path: Path, seed_file: Path
) -> None:
    message = tmp_path / "m.json"
    message.write_bytes(b'{"a": 1}\n')
    key = p2ptrade("keys", "show", str(seed_file)).stdout.strip()
    signing = ("--subscriber", "bap.example", "--key-id", "k1", "--seed-file", str(seed_file))
    times = ("--created", "1767225600", "--expires", "1767225900")
    header = p2ptrade("sign", "m.json", *signing, *times).stdout.strip()
    assert header.startswith('Signature keyId="bap.example|k1|ed25519",algorithm="ed25519"')
    again = p2ptrade("sign", "m.json", *signing, *times).stdout.strip()
    assert again == header  # the same bytes and times give the same signature
    check = ("verify", "m.json", "--header", header, "--public-key", key)
    assert p2ptrade(*check, "--now", "1767225601").returncode == 0
    late = p2ptrade(*check, "--now", "1767225901")
    assert (late.returncode, "AUT_SIGNATURE_INVALID" in late.stderr) == (1, True)
    message.write_bytes(b'{"a": 1}')  # without the last newline
    changed = p2ptrade(*check, "--now", "1767225601", "--json")
    assert changed.returncode == 1
    assert json.loads(changed.stdout)["code"] == "AUT_SIGNATURE_INVALID"


def test_now_and_five_minutes_are_the_times_of_a_signature(tmp_path: Path, seed_file: Path) -> None:
    (tmp_path / "m.json").write_bytes(b"{}")
    signing = ("--subscriber", "bap.example", "--key-id", "k1", "--seed-file", str(seed_file))
    header = p2ptrade("sign", "m.json", *signing).stdout.strip()
    created, expires = re.findall(r'(?:created|expires)="(\d+)"', header)
    assert int(expires) - int(created) == 300
    key = p2ptrade("keys", "show", str(seed_file)).stdout.strip()
    check = ("verify", "m.json", "--header", f"Authorization: {header}", "--public-key", key)
    assert p2ptrade(*check).returncode == 0


def test_a_header_without_a_signature_is_named(tmp_path: Path, seed_file: Path) -> None:
    (tmp_path / "m.json").write_bytes(b"{}")
    key = p2ptrade("keys", "show", str(seed_file)).stdout.strip()
    ran = p2ptrade("verify", "m.json", "--header", "", "--public-key", key)
    assert (ran.returncode, "AUT_SIGNATURE_MISSING" in ran.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("sign", "none.json"), id="no file"),
        pytest.param(("sign", "m.json", "--subscriber", 'a"b'), id="quote in the id"),
        pytest.param(("sign", "m.json", "--created", "5", "--expires", "5"), id="no life"),
        pytest.param(("verify", "m.json", "--header", "x", "--public-key", "short"), id="no key"),
    ],
)
def test_signing_asks_for_right_arguments(
    tmp_path: Path, seed_file: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "m.json").write_bytes(b"{}")
    given = list(arguments)
    defaults = {"--subscriber": "bap.example", "--key-id": "k1", "--seed-file": str(seed_file)}
    if arguments[0] == "sign":
        given += [part for pair in defaults.items() if pair[0] not in arguments for part in pair]
    ran = p2ptrade(*given)
    assert (ran.returncode, ran.stdout) == (2, "")
