"""The only module that knows doit: runs one goal of a pipeline, or doit's own command line.

Written for doit 0.37. Its `DoitMain` reads configuration from the current directory, and its
`run` needs a loader: ours holds tasks that were made in memory and settings of our own.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from doit.cmd_base import ModuleTaskLoader, TaskLoader2
from doit.cmd_run import Run
from doit.dependency import DatabaseException, FileChangedChecker
from doit.doit_cmd import DoitMain
from doit.exceptions import BaseFail, TaskFailed
from doit.loader import generate_tasks
from doit.reporter import ZeroReporter

from vclaw.errors import VclawError, of_system
from vclaw.progress import Progress
from vclaw.timeline import Stage

TaskDict = dict[str, Any]


class SizeTimeChecker(FileChangedChecker):  # type: ignore[misc]
    """A file changed when its size or its mtime did. doit stores this class's name: keep it."""

    def check_modified(
        self,
        file_path: str,  # noqa: ARG002
        file_stat: Any,
        state: Any,
    ) -> bool:
        """Whether the file differs from `state`."""
        return bool(tuple(state) != (file_stat.st_size, file_stat.st_mtime_ns))

    def get_state(self, dep: str, current_state: Any) -> tuple[int, int] | None:
        """What is stored of a file, or None where it is stored already."""
        stat = Path(dep).stat()
        state = (stat.st_size, stat.st_mtime_ns)
        return None if current_state and tuple(current_state) == state else state


class _Failed(TaskFailed):  # type: ignore[misc]
    """Carries an exception through doit, which would make it a traceback."""

    def __init__(self, error: Exception) -> None:
        hint = error.hint if isinstance(error, VclawError) else ""
        super().__init__(f"{error} {hint}".strip(), report=True)
        self.error = error


def step(function: Callable[..., object], *args: object) -> tuple[Callable[[], BaseFail | None]]:
    """A doit action that calls `function(*args)`; what it returns is not kept.

    doit stores an action's result as JSON and loses all results where one is not JSON.
    """

    def action() -> BaseFail | None:
        try:
            function(*args)
        except VclawError as error:
            return _Failed(error)
        except OSError as error:  # a full disk, say: doit would show a traceback
            return _Failed(of_system(error))
        except Exception as error:  # a defect of vclaw: told like any other, by the command line
            return _Failed(error)
        return None

    return (action,)


def holds(question: Callable[..., object], *args: object) -> Callable[[], bool]:
    """An `uptodate` entry that asks the world; doit ends a whole run where one raises."""

    def answer() -> bool:
        try:
            return bool(question(*args))
        except (VclawError, OSError):
            return False

    return answer


def settings(database: Path) -> dict[str, Any]:
    """doit's configuration: our database, our checker, nothing of the current directory."""
    return {
        "dep_file": str(database),
        "backend": "sqlite3",
        "check_file_uptodate": SizeTimeChecker,
        "verbosity": 2,
    }


def run(
    tasks: Iterable[TaskDict],
    goal: str,
    database: Path,
    progress: Progress,
    on_stage: Callable[[Stage], None] = lambda _: None,
) -> None:
    """Run `goal` and what it needs, where it is not up to date.

    `on_stage` is told of each stage when it is over, skipped ones too. Raises what an action
    raised, an OSError as a VclawError; doit's own complaints become VclawErrors.
    """
    mend(database)
    reporter = _Reporter(progress, on_stage)
    command = Run(task_loader=_Loader(list(tasks), database, reporter))
    try:
        status = command.parse_execute([goal])
    except (DatabaseException, sqlite3.Error) as error:
        raise VclawError(
            f"{database} cannot be used: {str(error).rpartition(': ')[2]}.",
            "Free some disk space and look after its folder, then run the command again.",
        ) from None
    if reporter.failure is not None:
        raise reporter.failure
    if status:
        raise VclawError(
            f"The stage {goal} failed: {reporter.problem or 'doit gave no reason'}.",
            "Run it again; `vclaw doit list --all` shows all stages.",
        )


def mend(database: Path) -> None:
    """Remove a database that doit cannot read: it would show a traceback.

    Nothing is lost, since every action may be repeated and does nothing where its work is done.
    Raises VclawError where it can be neither read nor removed.
    """
    try:
        if not database.exists() or _readable(database):
            return
        database.unlink()
        database.with_name(database.name + "-journal").unlink(missing_ok=True)
    except OSError as error:
        raise VclawError(
            f"{database} is damaged and cannot be removed: {error.strerror}.", "Remove it."
        ) from None


def _readable(database: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            for (data,) in connection.execute("select task_data from doit"):
                json.loads(data)
        return True
    except (sqlite3.Error, ValueError, TypeError, RecursionError):
        return False


def command_line(namespace: Mapping[str, Any], words: Sequence[str]) -> int:
    """doit's own command line over the tasks in `namespace`; returns its exit status."""
    main = DoitMain(task_loader=ModuleTaskLoader(dict(namespace)), config_filenames=())
    return int(main.run(list(words)) or 0)


class _Loader(TaskLoader2):  # type: ignore[misc]
    def __init__(self, tasks: list[TaskDict], database: Path, reporter: _Reporter) -> None:
        super().__init__()
        self._tasks = tasks
        self._config = {**settings(database), "reporter": reporter, "outfile": sys.stderr}

    def load_doit_config(self) -> dict[str, Any]:
        return self._config

    def load_tasks(self, cmd: object, pos_args: object) -> list[Any]:  # noqa: ARG002
        return list(generate_tasks("vclaw", (task for task in self._tasks)))


class _Reporter(ZeroReporter):  # type: ignore[misc]
    """Tells of skipped stages and keeps the first failure; the actions tell of themselves."""

    def __init__(self, progress: Progress, on_stage: Callable[[Stage], None]) -> None:
        super().__init__(sys.stderr, {})
        self._progress = progress
        self._on_stage = on_stage
        self._start = 0.0
        self.failure: Exception | None = None
        self.problem = ""

    def get_status(self, task: Any) -> None:  # noqa: ARG002 - called before each stage
        self._start = time.time()

    def add_success(self, task: Any) -> None:
        self._over(task, "done")

    def _over(self, task: Any, outcome: str) -> None:
        name = str(task.name).partition(":")[0]
        self._on_stage(Stage(name, self._start, time.time(), outcome))

    def skip_uptodate(self, task: Any) -> None:
        self._over(task, "cached")
        self._progress.say(f"{task.name}: up to date")

    def add_failure(self, task: Any, fail_info: BaseFail) -> None:
        self._over(task, "failed")
        if isinstance(fail_info, _Failed):
            self.failure = self.failure or fail_info.error
        else:
            self.problem = self.problem or f"{task.name}: {fail_info.get_msg().strip()}"

    def runtime_error(self, msg: str) -> None:
        self.problem = self.problem or msg.strip()
