"""Tokenizer files of a model folder."""

from __future__ import annotations

from .case import Case

CASES: dict[str, Case] = {}
