"""Labelled sequences: tables, annotations, and windows of labelled genomes."""
