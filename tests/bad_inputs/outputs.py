"""Places to write to."""

from __future__ import annotations

from .case import Case

CASES: dict[str, Case] = {}
