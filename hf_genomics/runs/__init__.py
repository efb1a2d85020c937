"""A Trainer that knows nothing of DNA: exact resume, checkpoints, incidents, memory and output folders."""
