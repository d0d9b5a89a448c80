"""Nodes die at named points of the test build; a part of all points in each round.

The round follows the number of commits, so that twelve commits in a row try every name on both
stores. `P2PTRADE_CRASH_ROUND=4` repeats one; `python -m tests.faults.crash --all` runs everything.
"""

import os
import subprocess
from collections.abc import Iterator

import pytest

from adapter.domain.trade import TradeState
from adapter.service.outbound import LEASE_MS
from tests.fakes.crash_points import Points
from tests.fakes.network import Network, offer, open_network, plan
from tests.fakes.postgres import PostgresServer
from tests.faults.crash import KILLED, LATE_S, ROOT, STORES, Case, Lab, hits_of, open_lab

pytestmark = pytest.mark.timeout(180)

ROUNDS = 12
NAMES_MIN = 40


def this_round() -> int:
    given = os.environ.get("P2PTRADE_CRASH_ROUND")
    if given is not None:
        return int(given) % ROUNDS
    count = ["git", "rev-list", "--count", "HEAD"]
    found = subprocess.run(count, cwd=ROOT, capture_output=True, text=True, check=False)
    return int(found.stdout or 0) % ROUNDS


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Lab]:
    with open_lab(tmp_path_factory.mktemp("crash"), postgres_server) as opened:
        yield opened


def name_of(point: str) -> str:
    """Return the name of a point without the node."""
    return point.split(" ", 1)[1]


def share(lab: Lab, store: str, number: int) -> list[Case]:
    """Return the cases of a round: every twelfth name, each at a node and a pass of its turn."""
    hits = lab.undisturbed(store).hits
    names = sorted({name_of(point) for point in hits})
    shift = number + STORES.index(store) * ROUNDS // 2
    found = []
    for place, name in enumerate(names[shift % ROUNDS :: ROUNDS]):
        points = sorted(point for point in hits if name_of(point) == name)
        point = points[(number + place) % len(points)]
        passes = hits_of(hits[point])
        found.append(Case(store, point, passes[(number + place) % len(passes)]))
    return found


@pytest.mark.parametrize("store", STORES)
def test_a_trade_outlives_a_death_at(store: str, lab: Lab) -> None:
    number = this_round()
    for case in share(lab, store, number):
        try:
            assert lab.run(case) == "COMPLETED"
        except AssertionError as error:
            pytest.fail(f"round {number}, {case}: {error}")


@pytest.mark.parametrize("store", STORES)
def test_twelve_rounds_try_every_name(store: str, lab: Lab) -> None:
    names = {name_of(point) for point in lab.undisturbed(store).hits}
    assert len(names) >= NAMES_MIN
    tried = [case for number in range(ROUNDS) for case in share(lab, store, number)]
    assert {name_of(case.point) for case in tried} == names
    assert len(tried) == len(names)


def test_nodes_that_come_back_after_everything_lapsed_agree_on_an_end(lab: Lab) -> None:
    ends = {
        lab.run(Case("sqlite", point, 2, LATE_S))
        for point in ("grid_operator answer.before", "bpp unit _take.after")
    }
    assert "COMPLETED" in ends
    assert len(ends) == 2


def test_a_node_that_commits_by_halves_is_found_out(lab: Lab) -> None:
    with pytest.raises(AssertionError, match="bpp is not as after its commits"):
        lab.run(Case("sqlite", "bpp insert inbox.before", 1, halves="bpp"))


async def test_what_a_dead_worker_had_claimed_another_sends_once_the_lease_is_over(
    lab: Lab,
) -> None:
    with lab.wreck("postgres") as wreck:
        network = await open_network(wreck.folder, databases=wreck.databases)
        await network.bpp.catalogue.publish(offer())
        transaction_id = await network.bap.originator.start_trade(plan())
        await network.bap.outbound.drain_due()
        Points(wreck.folder / "log", now_ms=network.clock.now_ms).note("discovered")
        lab.do(wreck, "work", Case("postgres", "bpp send.before", 1, gap_s=0), KILLED)
        await network.bpp.outbound.drain_due()
        assert actions(network) == ["discover"]  # claimed, and nobody sends it
        network.clock.advance_ms(LEASE_MS)
        await network.bpp.outbound.drain_due()
        assert actions(network) == ["discover", "on_discover"]
        await network.deliver()
        trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
        assert (trade.state, trade.error) == (TradeState.CONFIRMED, None)
        await network.close()


def actions(network: Network) -> list[str]:
    return [url.rsplit("/", 1)[1] for url, _ in network.wire.log]
