"""Whole studies in one command: the quickstart."""
