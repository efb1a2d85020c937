"""Recognise kinds of files, read text tables, and write files and folders completely or not at all."""
