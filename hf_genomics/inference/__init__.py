"""Load a model, cut windows, compute scores, and write predictions."""
