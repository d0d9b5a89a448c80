"""One run: participants send commands over a bad network to a node that fails, from one seed."""

import hashlib
import heapq
import sqlite3
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from adapter.domain.errors import ContractError
from adapter.settlement import SYSTEM, Command, Receipt, due_commands, execute, parse_command
from adapter.settlement.anchor_due import due_anchor
from tests.sim.checks import check_books, check_stored, trades_in
from tests.sim.database import Crash, Database
from tests.sim.genesis import BEGIN, VARIANTS, start
from tests.sim.healing import heal
from tests.sim.participants import Call, Participants

DOUBLED, LOST, ANSWER_LOST, FAULT = 0.1, 0.08, 0.05, 0.05
"""How often a command arrives twice, late, is done but not answered, or meets a fault."""
STATEMENTS = 40
"""A fault comes within so many statements; most commands have fewer, some have more."""
TIMER = 0.3
"""How often the host's timer runs between two steps."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to; equal seeds give equal outcomes."""

    seed: int
    head: str
    """Hash of the last entry."""
    trace: str
    """Digest of everything that happened, in order."""
    counts: Counter[str]
    """commands, accepted, refused, replayed, errors, crashes, entries, and kinds of trades."""


class SimulationError(AssertionError):
    """A run that broke a promise; the message names the seed."""


@dataclass(order=True)
class Waiting:
    """A command on its way."""

    step: int
    order: int
    call: Call = field(compare=False)


class Simulation:
    """The world of one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        """Begin with one of the ledgers."""
        self.random = Random(seed)
        self.variant = self.random.randrange(len(VARIANTS))
        begin = start(self.variant)
        self.settings = begin.settings
        self.database = Database(folder, begin.database, self.random)
        is_per_slot = begin.settings.get("cap_scope") == "PER_SLOT"
        self.participants = Participants(
            self.random, begin.keys, lambda: self.database.ledger, is_per_slot
        )
        self.now = self.latest = BEGIN
        self.step = 0
        self.queue: list[Waiting] = []
        self.sent = 0
        self.accepted: dict[tuple[str, str], tuple[int, str]] = {}
        self.counts: Counter[str] = Counter()
        self.trace = hashlib.sha256()
        self.is_calm = False
        """No faults any more."""

    # Running

    def run(self, steps: int) -> None:
        """Let `steps` commands be sent under faults, then heal and check."""
        for self.step in range(steps):
            self.pass_time()
            self.send(self.read_next_call())
            self.deliver()
            if self.random.random() < TIMER:
                self.tick()
        self.is_calm = True
        self.now = self.latest
        while self.queue:
            self.step += 1
            self.deliver()
        heal(self)
        self.check_all()

    def pass_time(self) -> None:
        """Move the clock: mostly on, at times far ahead as after an outage, at times back."""
        kind = self.random.random()
        if kind < 0.7:
            self.now += self.random.randrange(1, 180_000)
        elif kind < 0.94:
            self.now += self.random.randrange(1, 900_001)
        elif kind < 0.97:
            self.now += self.random.randrange(1, 2 * 3_600_000)
        else:
            self.now = max(BEGIN, self.now - self.random.randrange(1, 3_600_000))
        self.latest = max(self.latest, self.now)

    def read_next_call(self) -> Call:
        """Return what participants do next, looking at what is stored."""
        self.database.connection.control("BEGIN")
        call = self.participants.next_call(self.now)
        self.database.connection.control("ROLLBACK")
        return call

    def send(self, call: Call) -> None:
        """Put a command on its way: on time, late, or twice."""
        late = self.random.random() < LOST
        self.put(call, self.random.randrange(3, 9) if late else self.random.choice((0, 0, 0, 1, 3)))
        if self.random.random() < DOUBLED:
            self.put(call, self.random.choice((0, 1, 4, 10)))

    def put(self, call: Call, delay: int) -> None:
        """Let a command arrive after some steps."""
        self.sent += 1
        heapq.heappush(self.queue, Waiting(self.step + delay, self.sent, call))

    def deliver(self) -> None:
        """Hand over what has arrived."""
        while self.queue and self.queue[0].step <= self.step:
            call = heapq.heappop(self.queue).call
            is_answered = self.handle(call)
            if not is_answered or (not self.is_calm and self.random.random() < ANSWER_LOST):
                self.put(call, self.random.choice((1, 2, 5)))

    def tick(self) -> None:
        """Let the host's timer do what is due, as far as faults let it."""
        self.database.connection.control("BEGIN")
        ledger = self.database.ledger
        due = due_commands(ledger, self.now, 10)
        statement = due_anchor(ledger, self.now)
        self.database.connection.control("ROLLBACK")
        for command in [*due, *([statement] if statement else [])]:
            self.run_command(command, SYSTEM, None)

    # One command

    def handle(self, call: Call) -> bool:
        """Return whether a command was answered, be it with a refusal."""
        self.counts["commands"] += 1
        contract, function = call.function.split(".")
        try:
            command = parse_command(call.id, contract, function, call.args)
        except ContractError as refused:
            return self.refused(call.id, refused)
        return self.run_command(command, call.actor, call.behalf)

    def run_command(self, command: Command, actor: str, behalf: str | None) -> bool:
        """Return whether the node answered."""
        fault = not self.is_calm and self.random.random() < FAULT
        if fault:
            statements, dies = self.random.randrange(STATEMENTS), self.random.random() < 0.5
            self.database.arm(statements, dies=dies)
        try:
            receipt, is_new = self.transact(command, actor, behalf)
        except ContractError as refused:
            return self.refused(command.id, refused)
        except sqlite3.OperationalError:
            self.note(f"{command.id} error")
            self.counts["errors"] += 1
            return False
        except Crash:
            self.die(f"{command.id} crash")
            return False
        finally:
            self.database.disarm()
        self.check_receipt(command, actor, receipt, is_new=is_new)
        if fault and self.random.random() < 0.3:
            self.die(f"{command.id} crash after commit")
            return False
        return True

    def transact(self, command: Command, actor: str, behalf: str | None) -> tuple[Receipt, bool]:
        """Execute in a transaction of its own; whatever goes wrong rolls it back.

        Returns the receipt and whether the command has written an entry; a success may have none.
        """
        connection = self.database.connection
        connection.control("BEGIN IMMEDIATE")
        changes = connection.total_changes
        try:
            ledger = self.database.ledger
            head = ledger.head()
            receipt = execute(ledger, command, actor, self.now, on_behalf_of=behalf)
            is_new = ledger.head() != head
            connection.control("COMMIT")
        except ContractError:
            assert connection.total_changes == changes, "a refusal has written"
            connection.control("ROLLBACK")
            raise
        except sqlite3.OperationalError:
            connection.control("ROLLBACK")
            raise
        return receipt, is_new

    def refused(self, command_id: str, refused: ContractError) -> bool:
        """Note a refusal, which is an answer."""
        self.note(f"{command_id} {refused.code}")
        self.counts["refused"] += 1
        return True

    def check_receipt(
        self, command: Command, actor: str, receipt: Receipt, *, is_new: bool
    ) -> None:
        """Check I6: what was done once is not done again, and answered the same."""
        key = actor, command.id
        done = receipt.seq, receipt.entry_hash
        known = self.accepted.get(key)
        if known is not None:
            assert receipt.replayed, f"{key} is done again"
            assert done == known
        elif is_new:
            self.accepted[key] = done
        self.counts["replayed" if receipt.replayed else "accepted"] += 1
        self.note(f"{command.id} {receipt.seq} {receipt.replayed}")

    # Faults

    def die(self, why: str) -> None:
        """Kill the node, start it again, and look at what is left."""
        self.note(why)
        self.counts["crashes"] += 1
        self.database.die()
        self.check_all()

    def check_all(self) -> None:
        """Check everything that must always hold, and that nothing acknowledged is lost."""
        self.database.connection.control("BEGIN")
        ledger = self.database.ledger
        check_stored(ledger)
        check_books(ledger)
        last = max(self.accepted.values(), default=(0, ""))
        entry = ledger.entry(last[0])
        assert entry is not None
        assert not last[1] or entry.hash == last[1]
        self.database.connection.control("ROLLBACK")

    def note(self, what: str) -> None:
        """Add to the trace."""
        self.trace.update(f"{self.step} {self.now} {what}\n".encode())

    def outcome(self, seed: int) -> Outcome:
        """Return what the run came to."""
        self.database.connection.control("BEGIN")
        head = self.database.ledger.head()
        assert head is not None
        self.counts["entries"] = head.seq + 1
        self.counts += trades_in(self.database.ledger)
        return Outcome(seed, head.hash, self.trace.hexdigest(), self.counts)


def simulate(seed: int, steps: int) -> Outcome:
    """Run a seed.

    Raises:
        SimulationError: a promise was broken; says the seed and how to run it by hand.
    """
    with tempfile.TemporaryDirectory(prefix="sim-") as folder:
        simulation = Simulation(seed, Path(folder))
        try:
            simulation.run(steps)
            return simulation.outcome(seed)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__}: {error}, {Path(place.filename).name}:{place.lineno}"
            msg = f"seed {seed} fails at step {simulation.step}: {why}\n"
            msg += f"again: python -m tests.sim --seed {seed} --steps {steps}"
            raise SimulationError(msg) from error
        finally:
            simulation.database.close()
