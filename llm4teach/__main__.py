"""The command line: `llm4teach` and `python -m llm4teach`."""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # `python -m` looks for modules in the current folder first, where a file called rich.py or a
    # folder called minigrid would be taken for the library. The command `llm4teach` does not.
    del sys.path[0]

from llm4teach.flows.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
