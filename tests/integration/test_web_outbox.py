"""`/outbox/dead-letters`: what could not be delivered, for the node's operator."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.web import Web, error_of, json_of, open_web


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        yield opened


async def test_dead_letters_are_listed_for_an_operator(web: Web) -> None:
    listed = await web.grid.get("/outbox/dead-letters", headers=web.operators["rec"])
    assert (listed.status_code, json_of(listed)) == (200, {"dead_letters": []})


async def test_dead_letters_are_not_for_an_application(web: Web) -> None:
    headers = {"Authorization": web.application["bpp.seller.example"]}
    refused = await web.bpp.get("/outbox/dead-letters", headers=headers)
    assert (refused.status_code, error_of(refused)["code"]) == (401, "UNAUTHENTICATED")


async def test_resending_what_is_no_dead_letter_is_refused(web: Web) -> None:
    refused = await web.grid.post("/outbox/dead-letters/7/resend", headers=web.operators["rec"])
    assert (refused.status_code, error_of(refused)["code"]) == (404, "BIZ_ORDER_NOT_FOUND")
