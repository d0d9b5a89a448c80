"""Books of several market areas and epochs that wait to be cleared, and the journal this leaves."""

from adapter.settlement import Command, execute
from adapter.settlement.sharding import ClearBooks
from tests.unit.settlement.trading import BOOK_A, Trading
from tests.unit.settlement.world import EPOCH, NOON

AREAS = ("east", "north", "west")


def due_books() -> Trading:
    """Return a ledger with two epochs of three areas to clear.

    Every area has book A; a bid of the east is filled in part and lives on into the second epoch.
    """
    world = Trading().set_up()
    for area in AREAS:
        for number in range(1, len(BOOK_A) + 1):
            world.trader(f"{area}-{number}", area=area)
    world.trader("east-9", area="east")
    later = {"time_in_force": "GTT", "expires_at": NOON + 10 * EPOCH}
    for _ in range(2):
        for place, area in enumerate(AREAS):
            for number, (side, kwh, price) in enumerate(BOOK_A, 1):
                world.order(f"{area}-{number}", side, kwh + place, price)
        world.order("east-9", "BUY", 9, "6.10", **later)
        world.next_epoch()
    return world


def cleared_journal(world: Trading, clear_books: ClearBooks | None) -> list[bytes]:
    """Clear what is due and return the whole journal."""
    command = Command("upkeep", "oracle", "perform_upkeep", {})
    receipt = execute(world.ledger, command, "system", world.now, clear_books=clear_books)
    assert len(receipt.result["cleared"]) == 2 * len(AREAS)
    return [entry.body for entry in world.ledger.entries(-1, 10_000)]
