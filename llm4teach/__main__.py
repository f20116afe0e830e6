"""The command line: `llm4teach` and `python -m llm4teach`."""

from __future__ import annotations

import sys

from llm4teach.flows.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
