"""Progress bar of the commands (verbs) that read or fetch sequences."""

from __future__ import annotations

import logging

from tqdm.auto import tqdm


def progress_bar(logger: logging.Logger, verb: str, unit: str, total: int | None = None) -> tqdm:
    """Build a progress bar, shown only in a terminal, and only if the logger's level is INFO or lower.

    Args:
        logger: logger of the command; at level WARNING or above the bar is hidden.
        verb: name of the command, which is shown before the bar.
        unit: what is counted; "nt" and "B" are shown with prefixes (k, M, G).
        total: total number of units, if known.

    Returns:
        The bar, for a ``with`` block; ``bar.update(count)`` moves it on.
    """
    hidden = not logger.isEnabledFor(logging.INFO)
    # With ``disable=None`` tqdm shows the bar only if stderr is a terminal.
    return tqdm(total=total, unit=unit, unit_scale=unit in ("nt", "B"), desc=verb, disable=hidden or None)
