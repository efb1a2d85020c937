"""Runs to resume."""

from __future__ import annotations

from .case import Case

CASES: dict[str, Case] = {}
