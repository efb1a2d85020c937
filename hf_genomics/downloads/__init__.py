"""Download genomes by accession."""
