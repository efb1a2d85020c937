"""FASTA, FASTQ, GenBank and 2bit files."""

from __future__ import annotations

from .case import Case

CASES: dict[str, Case] = {}
