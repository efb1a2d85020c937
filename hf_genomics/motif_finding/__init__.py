"""Motifs: the words that a model gives high scores, as matrices, sites and tables."""
