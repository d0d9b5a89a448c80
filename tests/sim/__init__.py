"""A seeded simulator of a node under faults.

One seed drives the clock, the participants, the way their commands travel, and the faults of the
database. Run seeds by hand: `python -m tests.sim --seed 7 --count 100 --steps 60`.
"""
