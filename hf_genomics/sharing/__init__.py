"""Convert DNABERT folders, and upload models to the Hub."""
