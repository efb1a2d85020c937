"""Metrics, scores of masked tokens, the k-mer baseline, and pictures."""
