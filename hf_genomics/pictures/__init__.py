"""Draw what other verbs have written: regions of a genome with genes, tracks, scores and variants."""
