"""Turn the features of a genome into a table of labelled sequences, with negatives that are matched to them."""
