"""Start a worker: messages come on stdin and go out on stdout; what is printed goes to stderr.

Run by the core as ``python <this folder>``, in an interpreter with habitat-lab. The core itself is
not imported: an empty ``llm4teach.envs`` stands in for it, so that names are the same in both.
"""

import os
import sys
import types
from pathlib import Path


def stand_in() -> None:
    """Put empty packages in the place of the core's."""
    folder = Path(__file__).resolve().parent
    sys.path[:] = [place for place in sys.path if place and Path(place).resolve() != folder]
    for name, path in (
        ("llm4teach", []),
        ("llm4teach.envs", []),
        ("llm4teach.envs.habitat", [str(folder.parent)]),
    ):
        module = types.ModuleType(name)
        module.__path__ = path
        sys.modules[name] = module


def main() -> int:
    """Serve until the core is gone."""
    stand_in()
    writing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints gets between the messages
    reading = sys.stdin.buffer
    from llm4teach.envs.habitat.worker.loop import serve

    try:
        from llm4teach.envs.habitat.worker.simulators import facts, make_env
    except ImportError as error:
        from llm4teach.envs.habitat.worker.protocol import FAILED, Message, pack

        writing.write(pack(Message(FAILED, {"error": f"{error}"})))
        writing.flush()
        return 1
    return serve(reading, writing, make_env, facts())


if __name__ == "__main__":
    sys.exit(main())
