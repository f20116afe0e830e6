"""An export that dies in the middle of it."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from llm4teach.datasets.exporters.minari_dataset import MinariWriter
from llm4teach.datasets.exporters.parquet_files import ParquetWriter
from llm4teach.flows.cli.main import main


def die_once_something_is_written(writer: Any) -> None:
    write = writer.write

    def write_and_die(self: Any, episodes: Any) -> None:
        write(self, episodes)
        if isinstance(self, ParquetWriter):
            self._flush()
        os.kill(os.getpid(), signal.SIGKILL)

    writer.write = write_and_die


if __name__ == "__main__":
    for each in (MinariWriter, ParquetWriter):
        die_once_something_is_written(each)
    sys.exit(main(sys.argv[1:]))
