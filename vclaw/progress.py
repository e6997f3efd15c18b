"""Progress of long work, behind one interface: a terminal's bar, lines for a log, or nothing.

All of it goes to stderr, so that stdout holds results alone.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TextIO

LINE_SECONDS = 5.0
"""A log gets a line at most this often for one task ..."""

LINE_SHARE = 0.1
"""... unless this share of the work was done since its last line."""


class Task(Protocol):
    """One piece of work that is under way."""

    def advance(self, amount: int) -> None:
        """`amount` more bytes are done; those that were there from the start count too."""
        ...


class Progress(Protocol):
    """What long work tells its user."""

    def say(self, text: str) -> None:
        """Show one line."""
        ...

    def task(self, label: str, total: int) -> contextlib.AbstractContextManager[Task]:
        """Follow work of `total` bytes; leaving the block without an error means 100.0%."""
        ...


class _Count:
    """Counts what is done and passes each change on."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        self.done = 0
        self._changed = changed

    def advance(self, amount: int) -> None:
        self.done += amount
        self._changed(amount)


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    @contextlib.contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:  # noqa: ARG002
        """A task that nobody follows."""
        yield _Count(lambda _: None)


class Lines:
    """Plain lines, for a log: `fetching x: 40.0% of 600 MiB, 12.0 MiB/s, 30 s left`."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock

    def say(self, text: str) -> None:
        """Show one line."""
        print(text, file=self._stream or sys.stderr, flush=True)

    @contextlib.contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """Follow work with a line every few seconds or tenth, and a last one at 100.0%."""
        start = last_time = self._clock()
        last_done = 0

        def changed(_: int) -> None:
            nonlocal last_time, last_done
            now = self._clock()
            if count.done >= total:
                return  # the closing line says it
            if now - last_time >= LINE_SECONDS or count.done - last_done >= LINE_SHARE * total:
                last_time, last_done = now, count.done
                self.say(line(label, count.done, total, now - start))

        count = _Count(changed)
        yield count
        self.say(line(label, total, total, self._clock() - start))


class Terminal:
    """A bar that moves, with rate and time left."""

    def say(self, text: str) -> None:
        """Show one line above the bar."""
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)

    @contextlib.contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        """Follow work with a bar that ends at 100.0%."""
        from tqdm import tqdm

        bar: Any = tqdm(
            desc=label,
            total=max(total, 1),
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            dynamic_ncols=True,
            file=sys.stderr,
            bar_format="{desc}: {percentage:5.1f}% |{bar}| {n_fmt}/{total_fmt} {rate_fmt}, "
            "{remaining} left",
        )
        with bar:
            yield _Count(bar.update)
            bar.update(bar.total - bar.n)


def for_stderr() -> Progress:
    """The bar where stderr is a terminal, else lines."""
    return Terminal() if sys.stderr.isatty() else Lines()


def line(label: str, done: int, total: int, seconds: float) -> str:
    """One line of progress; `seconds` is the time since the task began."""
    share = 100.0 if total <= 0 else 100.0 * done / total
    size = f"{total / 2**20:.1f} MiB"
    rate = done / seconds if seconds > 0 else 0.0
    text = f"{label}: {share:.1f}% of {size}"
    if rate > 0:
        text += f", {rate / 2**20:.1f} MiB/s"
        text += f", {(total - done) / rate:.0f} s left" if done < total else f", {seconds:.1f} s"
    return text
