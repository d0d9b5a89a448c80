"""The documents say what the code does."""

import re
from pathlib import Path

import pytest

from tests.make_docs import DOCS, PAGES

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)(?:#[^)]*)?\)")
_CODE_PATH = re.compile(r"`((?:adapter|schema|examples|tests|docs|bench)/[\w./-]+)`")
PROSE = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run: python -m tests.make_docs"


@pytest.mark.parametrize("file", PROSE, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_and_named_files_exist(file: Path) -> None:
    text = file.read_text()
    linked = [file.parent / target for target in _LINK.findall(text) if "://" not in target]
    named = [ROOT / target for target in _CODE_PATH.findall(text)]
    missing = [str(path) for path in (*linked, *named) if not path.exists()]
    assert missing == []
