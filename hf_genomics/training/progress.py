"""Progress of a run: the file metrics.jsonl, and lines of the log with speed, shares and the time left."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..io.writing import as_json, write_text

FILE = "metrics.jsonl"


def speed_and_shares(counts: Sequence[int], seconds: float) -> dict[str, float]:
    """Convert counts of tokens and nucleotides to rates per second and shares.

    >>> speed_and_shares([1000, 900, 800, 120, 850, 34], seconds=2.0)["tokens_per_second"]
    450.0

    Args:
        counts: the counts that `masked_scores.count_batch` returns, summed over any number of batches.
        seconds: time that these batches took, in seconds.

    Returns:
        tokens_per_second (without padding) and nt_per_second; padding_share, the share of padding in all token
        positions; masked_share, the share of k-mers that are masked; hidden_share, the share of nucleotides that only
        masked k-mers cover.
    """
    places, tokens, kmers, masked, nt, hidden = counts
    return {
        "tokens_per_second": tokens / max(seconds, 1e-9),
        "nt_per_second": nt / max(seconds, 1e-9),
        "padding_share": 1 - tokens / max(places, 1),
        "masked_share": masked / max(kmers, 1),
        "hidden_share": hidden / max(nt, 1),
    }


def seconds_left(seconds: float, steps_done: int, steps_left: int) -> float:
    """Estimate the time left, at the mean speed of the steps so far.

    >>> seconds_left(30.0, steps_done=3, steps_left=7)
    70.0

    Args:
        seconds: time since the first step of this process; a resumed run counts its own steps only.
        steps_done: number of steps within these seconds.
        steps_left: number of steps until the end of the run.
    """
    return seconds / max(steps_done, 1) * steps_left


def in_words(measured: dict[str, float]) -> str:
    """Describe speed, shares and the time left in one line.

    >>> numbers = speed_and_shares([1000, 900, 800, 120, 850, 34], seconds=0.5) | {"mfu": 0.412, "eta_seconds": 3725.4}
    >>> in_words(numbers)
    '1,800 tokens/s, 1,700 nt/s, MFU 41.2 %, padding 10.0 %, masked 15.0 %, hidden 4.0 %, 1:02:05 left'

    Args:
        measured: what `speed_and_shares` returns, with ``mfu`` and ``eta_seconds``.
    """
    named = {"MFU": "mfu", "padding": "padding_share", "masked": "masked_share", "hidden": "hidden_share"}
    shares = ", ".join(f"{name} {100 * measured[key]:.1f} %" for name, key in named.items())
    left = datetime.timedelta(seconds=round(measured["eta_seconds"]))
    return (
        f"{measured['tokens_per_second']:,.0f} tokens/s, {measured['nt_per_second']:,.0f} nt/s, {shares}, {left} left"
    )


def begin_file(path: Path, step: int) -> None:
    """Keep the lines up to the step from which a run is resumed, without the half-written line of a killed process.

    Args:
        path: metrics.jsonl; it is created if missing.
        step: the step of the checkpoint, whose lines are complete; -1 for a new run.
    """
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found = json.loads(line)
            # The line with "train_loss", of the end of training, is written again.
            if found["step"] <= step and not (found["step"] == step and "train_loss" in found):
                kept.append(line + "\n")
        except ValueError:  # the half-written line
            continue
    write_text(path, "".join(kept))


def add_line(path: Path, line: dict[str, Any]) -> None:
    """Append a line of JSON; NaN and infinite numbers, which JSON does not know, become null."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(as_json(line), allow_nan=False) + "\n")
