"""Check sequence files and tables, and report everything that would be rejected later."""
