"""Read sequence files and text tables; write files and folders completely or not at all."""
