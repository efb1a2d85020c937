"""Several processes that share work, one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hf_genomics.io.processes import Processes


@dataclass(frozen=True)
class Simulated(Processes):
    """A process whose exchanges go through a table that all of them share; the first process must run last."""

    sent: dict[tuple[int, int], Any] = field(default_factory=dict)  # (process, number of the exchange) -> value
    done: list[None] = field(default_factory=list)  # one entry for each exchange of this process

    def gather(self, value: Any) -> list[Any] | None:
        """Leave the value for the first process, or collect those of the others."""
        number = len(self.done)
        self.done.append(None)
        self.sent[self.index, number] = value
        return [self.sent.pop((index, number)) for index in range(self.count)] if self.is_first else None


def run_all(count: int, work: Callable[[Processes], Any]) -> list[Any]:
    """Call a function once as each of several processes, and return what it returned, process by process."""
    sent: dict[tuple[int, int], Any] = {}
    results = [work(Simulated(index, count, sent=sent)) for index in reversed(range(count))]
    assert not sent, "every value was collected"
    return results[::-1]
