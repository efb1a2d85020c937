"""Bytes on disk: FASTA, FASTQ, GenBank, 2bit and text tables in; files written whole or not at all."""
