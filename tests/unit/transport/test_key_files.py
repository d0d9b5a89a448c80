"""Key files: written once, mode 0600; published keys are for loopback alone."""

import base64
import json
import os
from pathlib import Path

import pytest

from adapter.transport.key_files import (
    KeyFileError,
    is_private,
    read_seed,
    refuse_sample_seed,
    write_seed,
)

ROOT = Path(__file__).parents[3]
VECTORS = (ROOT / "tests/vectors/signatures.json", ROOT.parent / "shared/vectors/signatures.json")


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "a.seed"
    seed = write_seed(file)
    assert len(seed) == 32
    assert read_seed(file) == seed
    assert is_private(file)


def test_the_mode_is_0600_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        write_seed(tmp_path / "a.seed", bytes(32))
    finally:
        os.umask(before)
    assert (tmp_path / "a.seed").stat().st_mode & 0o777 == 0o600


def test_a_readable_file_is_not_private(tmp_path: Path) -> None:
    file = tmp_path / "a.seed"
    write_seed(file)
    file.chmod(0o640)
    assert not is_private(file)


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "a.seed"
    seed = write_seed(file)
    with pytest.raises(KeyFileError, match="File exists"):
        write_seed(file)
    assert read_seed(file) == seed


def test_a_64_byte_form_is_cut_to_the_seed(tmp_path: Path) -> None:
    file = tmp_path / "a.seed"
    file.write_bytes(base64.b64encode(b"s" * 32 + b"p" * 32) + b"\n")
    assert read_seed(file) == b"s" * 32


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(base64.b64encode(b"s" * 31), id="31 bytes"),
        pytest.param(base64.b64encode(b"s" * 33), id="33 bytes"),
        pytest.param(b"s" * 32, id="raw bytes"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"A" * 100_000, id="long"),
    ],
)
def test_anything_else_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.seed"
    file.write_bytes(content)
    with pytest.raises(KeyFileError, match="must hold base64 of a 32-byte seed") as caught:
        read_seed(file)
    assert len(content) < 8 or content.decode("latin-1") not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        read_seed(tmp_path / "none")


SAMPLES = [
    pytest.param(vector["private_seed_b64"], id=f"{file.parts[-3]}-{vector['name']}")
    for file in VECTORS
    if file.exists()
    for vector in json.loads(file.read_text("utf-8"))["signatures"]
]


@pytest.mark.parametrize("seed", SAMPLES)
def test_a_published_seed_is_for_loopback_alone(seed: str) -> None:
    raw = base64.b64decode(seed)
    refuse_sample_seed(raw, on_loopback=True)
    with pytest.raises(KeyFileError, match="published sample key"):
        refuse_sample_seed(raw, on_loopback=False)


def test_a_seed_of_ones_own_is_for_every_address(tmp_path: Path) -> None:
    refuse_sample_seed(write_seed(tmp_path / "a.seed"), on_loopback=False)
