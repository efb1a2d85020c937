"""Losses that are no number, or far above those before them, noticed at their step, with the windows in it."""

from __future__ import annotations

import json
import math
import statistics
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Says of rows of an epoch what they are: (epoch, rows) -> one dictionary each. Never their letters.
Describe = Callable[[int, np.ndarray], list[dict[str, Any]]]

FILE = "incidents.jsonl"
_MEMORY, _FEWEST = 100, 20  # steps
_NAMED = 5


class SpikeDetector:
    """Tell whether a step's loss lies far above those of the last 100 steps.

    Far is more than 10 % and more than 8 robust standard deviations (1.48 times the median distance from the median)
    above their median; of fewer than 20 steps nothing is said. A spike is not remembered, so that the next is seen.

    >>> spikes = SpikeDetector([5.0, 5.1] * 20)
    >>> spikes(5.2), spikes(9.0)
    (False, True)
    """

    def __init__(self, losses: Sequence[float] = ()) -> None:
        self.losses = deque(losses, maxlen=_MEMORY)

    @property
    def median(self) -> float:
        """Median of the losses remembered."""
        return statistics.median(self.losses)

    def __call__(self, loss: float) -> bool:
        """Judge the loss of the next step."""
        if len(self.losses) >= _FEWEST:
            median = self.median
            spread = 1.4826 * statistics.median(abs(past - median) for past in self.losses)
            if loss > max(median + 8 * spread, median + 0.1 * abs(median)):
                return True
        self.losses.append(loss)
        return False


def culprits(losses: Sequence[float], rows: np.ndarray) -> np.ndarray:
    """Choose the rows of a step whose losses are no numbers; all of them where each loss by itself is one.

    Args:
        losses: of the forward passes of a step.
        rows: (accumulation, batch).

    Returns:
        (rows,)
    """
    bad = [not math.isfinite(loss) for loss in losses]
    return rows[bad].reshape(-1) if any(bad) else rows.reshape(-1)


def name_windows(windows: Sequence[dict[str, Any]]) -> str:
    """Name the first few windows of many.

    >>> name_windows([{"window": 7, "record": "NC_001416", "start": 10, "end": 160}])
    'window 7 (NC_001416:10-160)'
    """
    named = [f"{row['window']} ({row['record']}:{row['start']}-{row['end']})" for row in windows[:_NAMED]]
    more = f" and {len(windows) - _NAMED} more" if len(windows) > _NAMED else ""
    return f"window{'s' if len(windows) > 1 else ''} {', '.join(named)}{more}"


def note(folder: Path, incident: dict[str, Any]) -> None:
    """Add an incident to the run's list of them, one JSON object a line; several processes may write to it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(incident) + "\n")
