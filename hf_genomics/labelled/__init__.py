"""Labelled sequences: what is learned from them, tables and datasets of them, and windows of labelled genomes."""
