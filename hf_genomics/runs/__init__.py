"""A Trainer that knows nothing about DNA: exact resume, checkpoints, incidents, memory and output folders."""
