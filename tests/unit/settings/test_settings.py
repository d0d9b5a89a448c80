"""node.yaml and its overrides: what is read, and the one line that refuses it."""

import os
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.domain.parties import NodeRole
from adapter.settings import HostPort, Settings, SettingsError, load_settings

INTERFACES_EXAMPLE = """
node:      {subscriber_id: bpp.seller.example, key_id: k1, seed_file: keys/bpp.seed, roles: [bpp],
            base_url: "http://127.0.0.1:8102", bind: "127.0.0.1:8102"}
database:  {url: "sqlite:///var/bpp.db"}
registry:  {kind: static, file: network.yaml}
cascade:   {grid_operator: grid.operator.example}
contracts: {host: here, genesis: genesis.yaml}
access:    {tokens_file: keys/tokens.yaml}
protocol:  {dialect: draft, ack_profile: onix, ttl: PT30S, policy: none}
"""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("P2PTRADE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "node.yaml"
    path.write_text(INTERFACES_EXAMPLE)
    return path


def changed(file: Path, key: str, value: Any) -> Path:
    """Set a dotted key of the file, or remove it with None."""
    values = yaml.safe_load(file.read_text())
    *sections, name = key.split(".")
    section = values
    for part in sections:
        section = section.setdefault(part, {})
    if value is None:
        del section[name]
    else:
        section[name] = value
    file.write_text(yaml.safe_dump(values))
    return file


def refusal(file: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_example_of_the_interfaces_is_read(file: Path) -> None:
    settings = load_settings(file)
    folder = file.parent
    assert settings.node.roles == (NodeRole.BPP,)
    assert settings.node.bind == HostPort("127.0.0.1", 8102)
    assert settings.node.seed_file == folder / "keys/bpp.seed"
    assert settings.database.url.kind == "sqlite"
    assert settings.database.url.path == folder / "var/bpp.db"
    assert settings.registry.file == folder / "network.yaml"
    assert settings.cascade.grid_operator == "grid.operator.example"
    assert settings.contracts.genesis == folder / "genesis.yaml"
    assert settings.access.tokens_file == folder / "keys/tokens.yaml"
    assert settings.hosts_contracts
    assert not settings.node.is_public


def test_the_defaults_of_protocol_are_those_of_the_interfaces(file: Path) -> None:
    rules = load_settings(file).protocol
    assert rules.model_dump() == {
        "dialect": "draft",
        "ack_profile": "onix",
        "ttl_ms": 30_000,
        "policy": None,
        "clock_skew_ms": 5_000,
        "signature_lifetime_ms": 300_000,
        "callback_signature": "plain",
        "digest_labels": ("BLAKE-512=", "BLAKE2b-512="),
        "require_ack_signature": False,
        "replay": "repeat",
        "inbox_retention_ms": 604_800_000,  # seven days
        "correlate": "message",
        "rate_limit_per_s": None,
        "domains": (),
        "networks": (),
        "allow_http": False,
        "allow_networks": (),
        "time_zone": "UTC",
        "peers": {},
    }


def test_a_file_with_only_what_is_needed_will_do(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(
        "node: {subscriber_id: a, key_id: b, seed_file: s, roles: [], "
        'base_url: "https://node.example:8443/"}\n'
        "database: {url: postgresql://user@host/db}\nregistry: {kind: static, file: n.yaml}\n"
    )
    settings = load_settings(file)
    assert settings.node.bind == HostPort("127.0.0.1", 8443)
    assert settings.node.base_url == "https://node.example:8443"
    assert settings.node.is_public
    assert settings.database.url.kind == "postgresql"
    assert settings.database.url.path is None
    assert settings.access.tokens_file is None
    assert not settings.hosts_contracts


def test_an_absolute_path_stays_absolute(file: Path) -> None:
    changed(file, "database.url", "sqlite:////data/bpp.db")
    changed(file, "node.seed_file", "/data/bpp.seed")
    settings = load_settings(file)
    assert settings.database.url.path == Path("/data/bpp.db")
    assert settings.node.seed_file == Path("/data/bpp.seed")


def test_settings_are_frozen(file: Path) -> None:
    settings = load_settings(file)
    with pytest.raises(ValueError, match="frozen"):
        settings.node.key_id = "k2"
    with pytest.raises(ValueError, match="frozen"):
        settings.node = settings.node


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("NODE__KEY_ID", "k2", lambda s: s.node.key_id == "k2"),
        ("NODE__ROLES", '["bap","bpp"]', lambda s: s.node.roles == (NodeRole.BAP, NodeRole.BPP)),
        ("node__bind", "[::1]:9000", lambda s: s.node.bind == HostPort("::1", 9000)),
        ("DATABASE__URL", "sqlite:///x.db", lambda s: s.database.url.path.name == "x.db"),
        ("NODE__SEED_FILE", "y", lambda s: s.node.seed_file.is_absolute()),
        ("REGISTRY__SERVE", "true", lambda s: s.registry.serve),
        ("PROTOCOL__CLOCK_SKEW", "PT7S", lambda s: s.protocol.clock_skew_ms == 7_000),
        ("PROTOCOL__RATE_LIMIT", "2.5", lambda s: s.protocol.rate_limit_per_s == Decimal("2.5")),
        (
            "PROTOCOL__ALLOW_NETWORKS",
            '["10.1.0.0/16"]',
            lambda s: s.protocol.allow_networks == (ip_network("10.1.0.0/16"),),
        ),
        (
            "PROTOCOL__PEERS",
            '{"a.example": {"ttl": "PT9S"}}',
            lambda s: s.protocol.for_peer("a.example").ttl_ms == 9_000,
        ),
    ],
)
def test_a_variable_wins_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: Any
) -> None:
    monkeypatch.setenv(f"P2PTRADE_{name}", text)
    settings = load_settings(file)
    assert expected(settings)
    assert settings.node.subscriber_id == "bpp.seller.example"  # the rest stays


def test_a_peers_rules_are_the_common_ones_with_its_overrides(file: Path) -> None:
    changed(file, "protocol.ttl", "PT40S")
    changed(file, "protocol.peers", {"a.example": {"callback_signature": "bound"}})
    rules = load_settings(file).protocol
    assert rules.for_peer("a.example").callback_signature == "bound"
    assert rules.for_peer("a.example").ttl_ms == 40_000
    assert rules.for_peer("b.example") is rules
    assert rules.for_peer(None).callback_signature == "plain"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("node.subscriber_id", "a b", "node.subscriber_id = a b: allowed is 1 to 255 characters"),
        ("node.subscriber_id", "a|b", "node.subscriber_id = a|b: allowed is"),
        ("node.key_id", 7, "node.key_id = 7: allowed is"),
        ("node.roles", ["bap", "seller"], "seller: allowed is a list out of bap, bpp"),
        ("node.roles", "bap", "node.roles = bap: allowed is a list out of"),
        ("node.base_url", "node.example", "node.base_url = node.example: allowed is an absolute"),
        ("node.base_url", "https://u@x", "node.base_url = https://u@x: allowed is"),
        ("node.bind", "8102", "node.bind = 8102: allowed is host:port"),
        ("node.bind", "127.0.0.1:0", "node.bind = 127.0.0.1:0: allowed is host:port"),
        ("node.bind", "127.0.0.1:65536", "allowed is host:port"),
        ("node.port", 1, "node.port = 1: no such key; allowed are subscriber_id, key_id"),
        ("database.url", "mysql://x", "database.url = mysql://x: allowed is sqlite:///relative"),
        ("database.url", "sqlite:///", "database.url = sqlite:///: allowed is"),
        ("registry.kind", "dns", "registry.kind = dns: allowed is static, lookup or dedi"),
        ("registry.serve", "perhaps", "registry.serve = perhaps: allowed is true or false"),
        ("contracts.host", "there", "contracts.host = there: allowed is here, or the base URL"),
        (
            "contracts.clearing",
            2,
            "contracts.clearing = 2: allowed is a map with executor",
        ),
        ("contracts.clearing.executor", "gpu", "allowed is inline, processes or dask"),
        ("contracts.clearing.workers", 0, "allowed is a whole number from 1 to 256"),
        ("contracts.clearing.scheduler", "localhost", "allowed is address of a Dask scheduler"),
        ("contracts.clearing.from_orders", 0, "allowed is a whole number from 1 on"),
        ("contracts.clearing.cpus", 2, "no such key; allowed are executor, workers, scheduler"),
        ("protocol.dialect", "xml", "protocol.dialect = xml: allowed is draft"),
        ("protocol.ack_profile", "x", "protocol.ack_profile = x: allowed is onix"),
        ("protocol.ttl", "30", "protocol.ttl = 30: allowed is an ISO 8601 duration"),
        ("protocol.ttl", "PT0S", "protocol.ttl = PT0S: allowed is an ISO 8601 duration"),
        ("protocol.ttl", 30, "protocol.ttl = 30: allowed is an ISO 8601 duration"),
        ("protocol.signature_lifetime", "PT3601S", "allowed is an ISO 8601 duration from PT1S"),
        ("protocol.callback_signature", "no", "allowed is plain, bound or bound_header"),
        ("protocol.digest_labels", [], "allowed is a list out of BLAKE-512="),
        ("protocol.digest_labels", ["MD5="], "allowed is a list out of BLAKE-512="),
        ("protocol.replay", "x", "protocol.replay = x: allowed is repeat or reject"),
        ("protocol.correlate", "x", "allowed is message or transaction"),
        ("protocol.rate_limit", 0, "allowed is none, or requests per second"),
        ("protocol.rate_limit", "fast", "allowed is none, or requests per second"),
        ("protocol.rate_limit", ".inf", "allowed is none, or requests per second"),
        ("protocol.allow_networks", ["10.0.0.1/8"], "allowed is a list of IP networks"),
        ("protocol.time_zone", "Mars/Phobos", "allowed is an IANA time zone"),
        ("protocol.time_zone", "../../etc/passwd", "allowed is an IANA time zone"),
        ("protocol.skew", 1, "protocol.skew = 1: no such key; allowed are dialect"),
        ("protocol.peers", {"a": {"ttl": "x"}}, "protocol.peers.a.ttl = x: allowed is an ISO"),
        ("protocol.peers", {"a": {"x": 1}}, "protocol.peers.a.x = 1: no such key"),
        ("protocol.peers", {"a": 1}, "protocol.peers.a = 1: allowed is overrides"),
        ("protocol.peers", [], "protocol.peers = []: allowed is overrides"),
        ("cascades", {}, "cascades = {}: no such key; allowed are node, database"),
        ("node", 1, "node = 1: allowed is a section"),
        ("node.seed_file", None, "node.seed_file is missing; allowed is path of a file"),
        ("database", None, "database is missing; allowed is a section with url"),
        ("registry.file", None, "registry.file is missing; allowed is the path of network.yaml"),
    ],
)
def test_a_wrong_or_missing_key_is_one_line(file: Path, key: str, value: Any, said: str) -> None:
    text = refusal(changed(file, key, value))
    assert text.startswith(f"{file}: ")
    assert said in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"node.clock_file": "offset", "node.bind": "0.0.0.0:8102"},
            "allowed only when node.bind is a loopback address, not 0.0.0.0",
            id="clock_file on a public node",
        ),
        pytest.param(
            {"registry.kind": "lookup"}, "registry.url is missing", id="lookup without url"
        ),
        pytest.param(
            {
                "registry.kind": "dedi",
                "registry.url": "http://registry.example",
                "node.base_url": "https://node.example",
            },
            "registry.url = http://registry.example: allowed is https",
            id="http registry of a public node",
        ),
        pytest.param(
            {"contracts.host": "http://127.0.0.1:8103"},
            "allowed only with contracts.host here",
            id="genesis of another node's ledger",
        ),
        pytest.param(
            {"contracts.clearing.executor": "dask"},
            "contracts.clearing.scheduler is missing; allowed is the address of a Dask scheduler",
            id="dask without a scheduler",
        ),
        pytest.param(
            {"contracts.clearing.scheduler": "tcp://127.0.0.1:8786"},
            "contracts.clearing.scheduler = tcp://127.0.0.1:8786: allowed only with executor dask",
            id="scheduler without dask",
        ),
        pytest.param(
            {
                "contracts.host": "http://127.0.0.1:8103",
                "contracts.genesis": None,
                "contracts.clearing.executor": "processes",
            },
            "contracts.clearing.executor = processes: allowed only with contracts.host here",
            id="clearing where no market is",
        ),
        pytest.param(
            {"node.roles": ["bap"]},
            "cascade.grid_operator = grid.operator.example: allowed only with role bpp or market",
            id="cascade without a bpp",
        ),
    ],
)
def test_a_contradiction_is_one_line(file: Path, changes: dict[str, Any], said: str) -> None:
    for key, value in changes.items():
        changed(file, key, value)
    assert said in refusal(file)


@pytest.mark.parametrize("bind", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_a_clock_file_is_allowed_on_loopback(file: Path, bind: str) -> None:
    changed(file, "node.bind", bind)
    settings = load_settings(changed(file, "node.clock_file", "offset"))
    assert settings.node.clock_file == file.parent / "offset"


def test_a_grid_operator_hosts_the_contract_layer_unless_told_otherwise(file: Path) -> None:
    changed(file, "node.roles", ["grid_operator"])
    changed(file, "cascade", None)
    changed(file, "contracts.host", None)
    assert load_settings(file).hosts_contracts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("node: [", "not YAML"),
        ("", "allowed is a map with the sections node, database"),
        ("- a", "allowed is a map"),
        ("1: {}", "allowed is a map"),
        ("\ufeffnode: {}", "node.subscriber_id is missing"),
    ],
)
def test_another_document_is_one_line(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    assert said in refusal(file)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("P2PTRADE_NODE__PORT", "1", "node.port = 1: no such key"),
        ("P2PTRADE_NODES__KEY_ID", "1", "P2PTRADE_NODES__KEY_ID: no such section; allowed are"),
        ("P2PTRADE_NODE__ROLES", "bap", "a list or map must be JSON"),
        ("P2PTRADE_PROTOCOL__TTL", "soon", "protocol.ttl = soon: allowed is"),
    ],
)
def test_a_wrong_variable_is_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    monkeypatch.setenv(name, text)
    assert said in refusal(file)


def test_a_password_and_control_characters_do_not_show(file: Path) -> None:
    shown = refusal(changed(file, "database.url", "mysql://user:secret@host/db"))
    assert "secret" not in shown
    assert "user:***@host" in shown
    assert "\x1b" not in refusal(changed(file, "database.url", "\x1b[31mred\nline"))


def test_a_database_password_is_not_part_of_the_repr(file: Path) -> None:
    settings = load_settings(changed(file, "database.url", "postgresql://u:secret@h/db"))
    assert "secret" not in repr(settings)
    assert settings.database.url.url == "postgresql://u:secret@h/db"


def test_every_key_says_what_is_allowed() -> None:
    def undescribed(model: Any, path: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            if not field.description:
                found.append(f"{path}{name}")
            if hasattr(field.annotation, "model_fields"):
                found += undescribed(field.annotation, f"{path}{name}.")
        return found

    assert undescribed(Settings) == []


def test_a_policy_is_a_name_or_a_map_of_demands(file: Path) -> None:
    text = file.read_text()
    file.write_text(text.replace("policy: none", "policy: interdiscom"))
    named = load_settings(file).protocol.policy
    assert named is not None
    assert named.name == "interdiscom"
    demands = "policy: {lead_time: PT1H, currencies: [USD]}"
    file.write_text(text.replace("policy: none", demands))
    spelled = load_settings(file).protocol.for_peer("anybody").policy
    assert spelled is not None
    assert (spelled.lead_time_ms, spelled.currencies) == (3_600_000, ("USD",))
    file.write_text(text.replace("policy: none", "policy: {leadtime: PT1H}"))
    with pytest.raises(SettingsError, match=r"protocol\.policy = .*: allowed is none, interdiscom"):
        load_settings(file)
