"""python -m llm4teach.flows.cli."""

import sys

from llm4teach.flows.cli.main import main

sys.exit(main())
