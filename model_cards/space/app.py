"""Show the page of `hf-genomics demo` on a Space of the Hub, or on any machine: `MODEL=runs/model python app.py`."""

import os

import hf_genomics as hg

on_hub = "SPACE_ID" in os.environ  # set on every Space, whose pages come from another machine
hg.demo(os.environ["MODEL"], host="0.0.0.0" if on_hub else "127.0.0.1", port=7860)  # noqa: S104 (the Space forwards it)
