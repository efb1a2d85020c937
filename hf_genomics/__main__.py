"""Run the command line, by ``python -m hf_genomics`` or ``accelerate launch -m hf_genomics``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
