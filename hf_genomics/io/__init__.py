"""Tell files apart, read text tables, and write files and folders completely or not at all."""
