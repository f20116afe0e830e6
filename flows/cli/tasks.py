"""The commands about tasks: list them, check one, start a package with a new one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

from pydantic import Field

from llm4teach.errors import ConfigError, TaskError
from llm4teach.flows.cli.parser import Argument, Command
from llm4teach.flows.runtime.settings import Settings

_FILES = {  # of a new package, and their templates
    "{name}.py": "task.py.txt",
    "test_{name}.py": "test_task.py.txt",
    "pyproject.toml": "pyproject.toml.txt",
}


class Tasks(Command):
    """List the tasks, or check one against the contract that everything else relies on."""

    command = "tasks"
    examples = (
        "llm4teach tasks",
        "llm4teach tasks check my_package.taxi:task",
        "llm4teach tasks check MiniGrid-FourRooms-v0",
    )

    action: Annotated[Literal["list", "check"], Argument(is_positional=True)] = Field(
        "list", description="list: print the tasks; check: play one and print what is wrong"
    )
    name: Annotated[str | None, Argument(metavar="NAME", is_positional=True)] = Field(
        None, description="check: the task"
    )

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        if self.action == "list":
            if self.name is not None:
                raise ConfigError(f"tasks list takes no name; got {self.name!r}")
            _list_tasks()
        elif self.name is None:
            raise ConfigError("give the task: llm4teach tasks check NAME")
        else:
            _check(self.name)


def _check(name: str) -> None:
    """Check a task and print the result.

    Raises:
        TaskError: it breaks the contract, or there is no such task.
    """
    from llm4teach.envs.custom.check import CHECKS
    from llm4teach.envs.registry import get_task
    from llm4teach.student.check_task import check_task

    problems = check_task(get_task(name))
    if problems:
        listed = "\n".join(f"  {problem.member}: {problem.text}" for problem in problems)
        raise TaskError(f"{name} breaks the contract of a task:\n{listed}")
    print(f"{name} keeps the contract of a task ({', '.join(CHECKS)})")


def _list_tasks() -> None:
    from llm4teach.envs.habitat.task import habitat_task_names
    from llm4teach.envs.registry import get_task, listed_task_names, task_names
    from llm4teach.flows.cli.tables import print_table

    tasks = [get_task(name) for name in listed_task_names()]
    print_table(
        [
            {
                "task": task.name,
                "family": task.family,
                "actions": len(task.action_names),
                "observation": " x ".join(map(str, task.observation_shape)),
                "max steps": task.max_steps,
            }
            for task in tasks
        ]
    )
    shifted = [name for name in task_names(shifted=True) if name not in task_names()]
    shifted += [n for n in habitat_task_names(shifted=True) if n not in habitat_task_names()]
    print(f"\nShifted variants, for `llm4teach evaluate` only: {', '.join(shifted)}.")
    print("Habitat's tasks need an interpreter of their own: make habitat-env (docs/HABITAT.md).")
    print(
        "Also any MiniGrid or BabyAI environment by its gymnasium id (MiniGrid-FourRooms-v0, …; "
        "with the ending -parsed a parser reads the mission, and not the teacher; of another "
        "package: module:EnvId-v0), and your own tasks: module:attribute "
        "(llm4teach new-task NAME starts one)."
    )


class NewTask(Command):
    """Write a package with a small task of its own, which passes its test, to start from."""

    command = "new-task"
    examples = ("llm4teach new-task taxi", "llm4teach new-task taxi --folder ~/worlds/taxi")

    name: Annotated[str, Argument(metavar="NAME", is_positional=True)] = Field(
        description="of the module and package, in lower case"
    )
    folder: Annotated[Path | None, Argument(metavar="FOLDER")] = Field(
        None, description="where to write it (default: a new folder with this name)"
    )

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise ConfigError(
                f"NAME must be a module's name, in lower case letters, digits and _; got "
                f"{self.name!r}"
            )
        folder = (self.folder or Path(self.name)).expanduser()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} exists and is not empty; give another --folder")
        folder.mkdir(parents=True, exist_ok=True)
        templates = resources.files("llm4teach.flows.cli") / "new_task"
        title = "".join(word.title() for word in self.name.split("_"))
        for file, template in _FILES.items():
            text = (templates / template).read_text("utf-8")
            path = folder / file.format(name=self.name)
            path.write_text(Template(text).substitute(name=self.name, title=title), "utf-8")
        print(f"wrote {', '.join(f.format(name=self.name) for f in _FILES)} in {folder}")
        print(f"next: cd {folder} && llm4teach tasks check {self.name}:task")
