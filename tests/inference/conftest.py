"""Tiny fine-tuned models of every kind, and sequences for them."""

from models_of_kinds import draw, model_of, saved, write_fasta  # noqa: F401 (fixtures)
