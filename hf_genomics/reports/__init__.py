"""One-file HTML reports."""
