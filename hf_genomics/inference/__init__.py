"""Cut windows, compute scores, and write predictions."""
