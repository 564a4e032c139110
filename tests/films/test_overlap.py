"""Reading, work and writing at the same time: in order, and only a few items ahead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fnetcli.films.overlap import AHEAD, overlap


def test_order_and_how_far_ahead() -> None:
    """However long a film is, few frames of it are in memory."""
    read, written, widest = list[int](), list[int](), list[int]()

    def items() -> Iterator[int]:
        for i in range(1, 200):
            read.append(i)
            yield i

    def write(item: int) -> None:
        widest.append(len(read) - len(written))
        written.append(item)

    overlap(items(), lambda item: 10 * item, write)
    assert written == [10 * i for i in range(1, 200)]
    assert max(widest) <= 2 * (AHEAD + 2)


@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_an_error_of_any_step_ends_it(step: str) -> None:
    written = list[int]()

    def fail(name: str, item: int) -> None:
        if name == step and item == 5:
            raise ValueError(name)

    def items() -> Iterator[int]:
        for i in range(1, 50):
            fail("read", i)
            yield i

    def work(item: int) -> int:
        fail("work", item)
        return item

    def write(item: int) -> None:
        fail("write", item)
        written.append(item)

    with pytest.raises(ValueError, match=step):
        overlap(items(), work, write)
    assert written[:4] == [1, 2, 3, 4]
    assert len(written) < 20
