"""Explain what a fine-tuned model predicts: scores per nucleotide, in genome coordinates, as files and pictures."""
