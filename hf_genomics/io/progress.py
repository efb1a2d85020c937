"""Progress bars of the verbs that read or fetch sequences."""

from __future__ import annotations

import logging

from tqdm.auto import tqdm


def progress_bar(logger: logging.Logger, verb: str, unit: str, total: int | None = None) -> tqdm:
    """Build a progress bar: on a screen only, and only if the logger shows information.

    Args:
        logger: logger of the verb; at level WARNING or above the bar is hidden.
        verb: name of the verb, which is shown before the bar.
        unit: what is counted; "nt" and "B" are shown with prefixes (k, M, G).
        total: how many of them there are, if that is known.

    Returns:
        The bar, for a ``with`` block; ``bar.update(count)`` moves it on.
    """
    hidden = not logger.isEnabledFor(logging.INFO)
    # With ``disable=None`` tqdm shows the bar only if stderr is a screen.
    return tqdm(total=total, unit=unit, unit_scale=unit in ("nt", "B"), desc=verb, disable=hidden or None)
