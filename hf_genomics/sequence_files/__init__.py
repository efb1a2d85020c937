"""Read FASTA, FASTQ, GenBank and 2bit files, record by record or at any place of an indexed file."""
