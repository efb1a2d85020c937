"""From files to windows: validated FASTA reading, the genome store, splits, labelled tables and collators."""
