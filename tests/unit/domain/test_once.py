"""A property that is computed once."""

from adapter.domain.once import once


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    @once
    def value(self) -> int:
        """Return how often it was computed."""
        self.calls += 1
        return self.calls


def test_a_value_is_computed_at_its_first_use_and_kept_for_each_object() -> None:
    first, second = Counted(), Counted()
    assert first.calls == 0
    assert (first.value, first.value, second.value) == (1, 1, 1)
    assert first.calls == 1


def test_the_class_shows_the_property_with_its_text() -> None:
    assert isinstance(Counted.value, once)
    assert Counted.value.__doc__ == "Return how often it was computed."
