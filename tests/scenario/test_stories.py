"""The stories of `docs/stories.md`: every command is typed, every number shown is compared."""

from pathlib import Path

import pytest

from tests.scenario.stories import Story, stories, told_by

STORIES = stories()


def test_the_page_tells_four_stories() -> None:
    assert len(STORIES) == 4
    assert sum(len(story.commands) for story in STORIES) > 60


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title.split(":")[0])
async def test_a_story_ends_with_the_balances_of_the_page(story: Story, tmp_path: Path) -> None:
    async with told_by(story, tmp_path) as teller:
        for typed in story.commands:
            await teller.tell(typed)
        for owner, (grid, cash) in story.balances.items():
            energy = await teller.balance(owner, "GRID")
            money = await teller.balance(owner, story.currency)
            assert (energy["posted"], money["posted"]) == (grid, cash), owner
            assert energy["held"] == "0"
            assert money["held"] == "0.00"
