"""``python -m hf_genomics`` and ``accelerate launch -m hf_genomics`` are the command line."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
