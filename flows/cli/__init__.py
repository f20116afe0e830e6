"""The command line."""

from llm4teach.flows.cli.main import main as main
