"""Recipes and options on the command line."""

from __future__ import annotations

from .case import Case

CASES: dict[str, Case] = {}
