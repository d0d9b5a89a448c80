"""Our examples are what our nodes really say, and have nothing to object to."""

from pathlib import Path

import pytest

from adapter.domain.findings import Severity
from adapter.protocol import strict_json
from adapter.protocol.rules import check_message
from adapter.protocol.schemas import Schemas
from adapter.store.documents import load_bundle
from tests.conformance.make_examples import FOLDER, run

FILES = sorted(FOLDER.glob("*.json"))


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas(load_bundle())


async def test_a_run_with_fixed_time_and_ids_says_the_examples_byte_by_byte(tmp_path: Path) -> None:
    said = await run(tmp_path)
    kept = {file.name: file.read_bytes() for file in FILES}
    assert said.keys() == kept.keys()
    for name, content in said.items():
        assert content == kept[name], f"{name}: python -m tests.conformance.make_examples"


def test_the_set_is_whole() -> None:
    assert len(FILES) == 17


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_example_has_neither_error_nor_warning(file: Path, schemas: Schemas) -> None:
    body = strict_json.decode_object(file.read_bytes())
    action = body["context"]["action"]
    assert schemas.check(action, body) == ()
    found = check_message(action, body)
    assert [one.code for one in found if one.severity is not Severity.INFO] == []
