"""`p2ptrade validate` as a process: output, exit codes, reports, bad input."""

import json
import os
import pty
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapter.cli.validate import JsonLines, Judgement
from adapter.domain.findings import Finding
from adapter.protocol import strict_json
from adapter.protocol.validation import Profile
from tests.security.test_s9_hostile_json import HOSTILE
from tests.unit.protocol.messages import Message, d, f, inputs, p, p_on_init

EXAMPLES = Path(__file__).parents[2] / "examples"
GOOD = EXAMPLES / "p2p_trading" / "10_on_confirm.json"
KEYS = {"file", "action", "dialect", "mode", "valid", "errors", "findings"}
ERROR_KEYS = {"tier", "severity", "rule", "code", "path", "message", "wire_code"}


def run(
    *arguments: object, stdin: bytes = b"", **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    """Return what the command did; it may never end with a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "adapter", "validate", *map(str, arguments)],
        capture_output=True,
        check=False,
        input=stdin,
        env={**os.environ, **variables},
        timeout=50,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2)
    return done


def lines(*arguments: object) -> list[dict[str, Any]]:
    """Return the JSON lines of a run."""
    return [json.loads(line) for line in run("--json", *arguments).stdout.splitlines()]


def write(folder: Path, name: str, message: Message) -> Path:
    """Write a message for people to read."""
    file = folder / name
    value = json.loads(strict_json.encode(message))
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False))
    return file


def dear(price: object = "0.12") -> Message:
    """Return F with a price of a wrong type, or another price."""
    message = f()
    inputs(message, "SELLER")["pricePerKWh"] = price
    return message


def test_a_valid_file_is_exit_code_0() -> None:
    done = run("--json", GOOD)
    (line,) = done.stdout.splitlines()
    document = json.loads(line)
    assert done.returncode == 0
    assert document.keys() == KEYS
    assert document["file"] == str(GOOD)
    assert (document["action"], document["dialect"], document["mode"], document["valid"]) == (
        "on_confirm",
        "draft",
        "FIXED_PRICE",
        True,
    )


def test_a_broken_file_is_exit_code_1_and_names_everything(tmp_path: Path) -> None:
    file = write(tmp_path, "dear.json", dear())
    done = run("--json", file)
    assert done.returncode == 1
    (error,) = json.loads(done.stdout)["errors"]
    assert error.keys() == ERROR_KEYS
    assert (error["rule"], error["code"]) == ("P2P_INPUT_TYPE", "SCH_TYPE_NOT_SUPPORTED")


def test_folders_are_searched_in_name_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.json", "b/1.json", "a.json", "c.json"):
        write(tmp_path, name, f())
    (tmp_path / "note.txt").write_text("not looked at")
    (tmp_path / "folder.json").mkdir()
    found = [line["file"] for line in lines(tmp_path)]
    assert found == [str(tmp_path / name) for name in ("a.json", "b/1.json", "b/2.json", "c.json")]


def test_a_missing_path_is_wrong_usage(tmp_path: Path) -> None:
    done = run(GOOD, tmp_path / "none.json")
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"none.json" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no path"),
        pytest.param(["--profile", "lenient", GOOD], id="unknown profile"),
        pytest.param(["--engine", "c", GOOD], id="unknown engine"),
        pytest.param(["--report", "html", GOOD], id="unknown report"),
        pytest.param(["--json", "--report", "junit", GOOD], id="two forms"),
        pytest.param(["/dev/null"], id="device"),
        pytest.param(["a\udc80b"], id="name that is no UTF-8"),
        pytest.param(["x" * 5_000], id="long name"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[object]) -> None:
    assert run(*arguments).returncode == 2


def test_an_empty_folder_is_wrong_usage(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 2


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    assert run(tmp_path).returncode == 2


def test_a_broken_link_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "nowhere")
    assert run(tmp_path).returncode == 2


def test_standard_input_is_a_file_too() -> None:
    done = run("--json", "-", stdin=GOOD.read_bytes())
    assert json.loads(done.stdout)["valid"] is True
    assert run("-", stdin=b"\0" * 300_000).returncode == 1


def test_s9_hostile_files_are_coded_errors_and_exit_code_1(tmp_path: Path) -> None:
    for number, body in enumerate(HOSTILE.values()):
        (tmp_path / f"{number:03d}.json").write_bytes(body)
    for extra in (b"\x7fELF" + bytes(range(256)), b"x" * 262_145, b'{"a":' + b"9" * 300_000):
        (tmp_path / f"{len(list(tmp_path.iterdir())):03d}.json").write_bytes(extra)
    for form in ([], ["--json"], ["--report", "junit"], ["--report", "sarif"]):
        done = run(*form, tmp_path)
        assert done.returncode == 1
        done.stdout.decode("utf-8")
    found = lines(tmp_path)
    assert len(found) == len(HOSTILE) + 3
    for document in found:
        assert [e["code"] for e in document["errors"]] in (
            ["SCH_INVALID_JSON"],
            ["SCH_INVALID_FORMAT"],
        )


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"context":{},"message":{}}',
        b'{"context":{"action":"update"},"message":{}}',
        b'{"context":{"action":"on_track"},"message":{}}',
    ],
)
def test_unknown_kinds_of_messages_are_coded_errors(body: bytes) -> None:
    done = run("--json", "-", stdin=body)
    assert done.returncode == 1
    codes = [error["code"] for error in json.loads(done.stdout)["errors"]]
    assert codes
    assert all(code.startswith(("SCH_", "CTX_")) for code in codes)


def test_profile_upstream_fails_no_file_for_a_rule(tmp_path: Path) -> None:
    message = f()
    inputs(message, "BUYER")["targetMeterId"] = "MS-1"
    file = write(tmp_path, "same.json", message)
    assert run(file).returncode == 1
    assert run("--profile", "upstream", file).returncode == 0
    (document,) = lines("--profile", "upstream", file)
    assert [one["code"] for one in document["findings"]] == ["P2P_SAME_METER"]


@pytest.mark.parametrize("engine", ["rs", "py", "both"])
def test_engines_say_the_same(engine: str, tmp_path: Path) -> None:
    write(tmp_path, "a.json", dear())
    write(tmp_path, "b.json", f())
    found = lines("--engine", engine, tmp_path)
    assert [[e["code"] for e in one["errors"]] for one in found] == [["SCH_TYPE_NOT_SUPPORTED"], []]


def test_history_is_kept_over_files(tmp_path: Path) -> None:
    for name, message in (("1", p()), ("2", p_on_init()), ("3", dear(d("0.13")))):
        write(tmp_path, f"{name}.json", message)
    assert run(tmp_path).returncode == 0
    found = lines("--history", tmp_path)
    assert [[e["code"] for e in one["errors"]] for one in found] == [
        [],
        [],
        ["P2P_HIST_TERM_CHANGED"],
    ]


def test_people_see_the_line_and_a_caret(tmp_path: Path) -> None:
    file = write(tmp_path, "dear.json", dear())
    text = run(file).stdout.decode()
    number = file.read_text().splitlines().index('              "pricePerKWh": "0.12",') + 1
    assert f"--> {file}:{number}:30\n" in text
    shown = next(line for line in text.splitlines() if f"{number} | " in line)
    caret = text.splitlines()[text.splitlines().index(shown) + 1]
    assert shown[caret.index("^") :][:6] == '"0.12"'
    assert "P2P_INPUT_TYPE (SCH_TYPE_NOT_SUPPORTED)" in text
    assert "expected number or null, found" in text
    assert "right: An input, direct or in its envelope, has its type and shape." in text
    assert text.splitlines()[-1] == "1 file: 0 valid, 1 not; 1 error"
    assert "\x1b" not in text


def test_a_file_cannot_drive_the_terminal(tmp_path: Path) -> None:
    message = f()
    inputs(message, "SELLER")["sourceType"] = 7
    message["message"]["order"]["beckn:orderAttributes"]["roles"][0]["role"] = "\x1b[2J\u202e"
    raw = strict_json.encode(message).replace(b"\\u001b", "\u009b".encode())
    file = tmp_path / "drive.json"
    file.write_bytes(raw)
    text = run(file).stdout.decode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_a_minified_file_is_cut_around_the_caret(tmp_path: Path) -> None:
    file = tmp_path / "small.json"
    file.write_bytes(strict_json.encode(dear()))
    text = run(file).stdout.decode()
    assert max(len(line) for line in text.splitlines()) < 140


def test_junit_fails_one_case_per_broken_file(tmp_path: Path) -> None:
    write(tmp_path, "a.json", f())
    write(tmp_path, "b.json", dear())
    (tmp_path / "c<&>.json").write_bytes(b'{"a":"\x00"}')
    done = run("--report", "junit", tmp_path)
    assert done.returncode == 1
    root = ET.fromstring(done.stdout)
    (suite,) = root
    assert suite.attrib["tests"] == "3"
    assert suite.attrib["failures"] == "2"
    failures = [case.find("failure") for case in suite]
    assert failures[0] is None
    assert failures[1] is not None
    assert failures[1].attrib["type"] == "P2P_INPUT_TYPE"
    assert suite[2].attrib["name"].endswith("c<&>.json")


def test_sarif_names_rule_file_and_line(tmp_path: Path) -> None:
    file = write(tmp_path, "dear price.json", dear())
    document = json.loads(run("--report", "sarif", file).stdout)
    assert document["version"] == "2.1.0"
    (result,) = document["runs"][0]["results"]
    (rule,) = document["runs"][0]["tool"]["driver"]["rules"]
    assert (result["ruleId"], rule["id"], result["level"]) == (
        "P2P_INPUT_TYPE",
        "P2P_INPUT_TYPE",
        "error",
    )
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("/dear%20price.json")
    line = file.read_text().splitlines()[place["region"]["startLine"] - 1]
    region = place["region"]
    assert line[region["startColumn"] - 1 : region["endColumn"] - 1] == '"0.12"'


def test_a_terminal_of_few_signs_is_no_fault(tmp_path: Path) -> None:
    message = f()
    message["context"]["bap_id"] = "größe"
    file = write(tmp_path, "é.json", message)
    assert run(file, PYTHONIOENCODING="ascii", LC_ALL="C").returncode == 1


def on_terminal(*arguments: object, **variables: str) -> str:
    """Return what the command writes to a terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "adapter", "validate", *map(str, arguments)],
        stdout=child,
        stderr=child,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", **variables},
    )
    os.close(child)
    text = b""
    while True:
        try:
            part = os.read(parent, 65_536)
        except OSError:
            break
        if not part:
            break
        text += part
    process.wait(timeout=50)
    os.close(parent)
    return text.decode("utf-8", "replace")


def test_colour_is_for_terminals_and_no_color_wins(tmp_path: Path) -> None:
    file = write(tmp_path, "dear.json", dear())
    assert "\x1b[1;31m" in on_terminal(file, NO_COLOR="")
    assert "\x1b[" not in on_terminal(file, NO_COLOR="1")


def test_long_work_shows_a_bar_on_a_terminal(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.json").write_bytes(GOOD.read_bytes())
    assert "validating" in on_terminal("--engine", "py", tmp_path)
    assert b"validating" not in run("--engine", "py", tmp_path).stderr


def test_a_policy_is_a_name_or_a_file(tmp_path: Path) -> None:
    named = run("--json", "--policy", "interdiscom", GOOD)
    assert named.returncode == 1
    found = json.loads(named.stdout)
    assert [error["rule"] for error in found["errors"]] == ["LEAD_TIME", "SLOT", "CURRENCY"]
    assert {error["tier"] for error in found["errors"]} == {"policy"}
    assert {error["wire_code"] for error in found["errors"]} == {"POL_ELIGIBILITY_NOT_MET"}
    file = tmp_path / "policy.yaml"
    file.write_text("currencies: [USD]\nminimum_kwh: 1\n")
    assert run("--policy", file, "--profile", "upstream", GOOD).returncode == 0
    file.write_text("currencies: [INR]\n")
    assert run("--policy", file, "--profile", "upstream", GOOD).returncode == 1
    assert run(GOOD).returncode == 0


@pytest.mark.parametrize("text", ["lead_time: soon", "- 1", ": :\n:", "leadtime: PT1H", ""])
def test_a_policy_that_cannot_be_read_is_wrong_usage(tmp_path: Path, text: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    done = run("--policy", file, GOOD)
    assert done.returncode == (0 if text == "" else 2)
    assert run("--policy", "intradiscom", GOOD).returncode == 2


class Exploding:
    """An engine with a bug."""

    def check(self, action: str, body: Mapping[str, Any]) -> tuple[Finding, ...]:
        raise ZeroDivisionError(action)


def test_a_bug_of_the_validator_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    judgement = Judgement({"rs": Exploding()}, Profile.STRICT, None, history=False)
    judgement.judge(str(GOOD), JsonLines())
    found = json.loads(capsys.readouterr().out)
    assert judgement.exit_code == 1
    (error,) = found["errors"]
    assert (error["code"], error["path"]) == ("NET_INTERNAL_ERROR", "$")
    assert "ZeroDivisionError" in error["message"]
