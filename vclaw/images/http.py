"""HTTP with patience: time-outs, bounded retries with backoff, and errors in two sentences."""

from __future__ import annotations

import datetime
import email.utils
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from vclaw import __version__
from vclaw.errors import VclawError

if TYPE_CHECKING:
    from requests import Response, Session

T = TypeVar("T")

TIMEOUT = (10.0, 30.0)
"""Seconds to wait for a connection, and for the next bytes of a stalled one."""

ATTEMPTS = 5
"""Failures in a row, without anything gained in between, before giving up."""

FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
"""Seconds between attempts: doubled from the first to the longest."""

LONGEST_RETRY_AFTER = 300.0
"""Seconds that a server may ask to wait; for more, the user is told instead."""

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that another attempt may not meet again."""

ERRNO = re.compile(r"\[Errno -?\d+\] ([^)'\"]+)")
"""What the operating system says, in the text of a library's error."""

SMALL = 16 * 2**20
"""Bytes of the largest answer that is read into memory."""


class TransientError(VclawError):
    """Another attempt may succeed; `wait` is how many seconds the server asked for."""

    def __init__(self, message: str, hint: str = "", wait: float | None = None) -> None:
        super().__init__(message, hint)
        self.wait = wait


class StatusError(VclawError):
    """The server refused, and will again."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


class Client:
    """One session with a server; `say` is told of each retry, `sleep` waits between them."""

    def __init__(
        self, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.say = say
        self._sleep = sleep
        self._session: Session | None = None

    def get(self, url: str, headers: dict[str, str] | None = None) -> Response:
        """Start one GET without retries; the caller reads the body from `.raw`.

        Raises TransientError or StatusError; status 416 is returned, as it answers a Range.
        """
        import requests

        if self._session is None:
            self._session = requests.Session()
            # A compressed body would break Range and digest, which speak of the file itself.
            self._session.headers.update(
                {"User-Agent": f"vclaw/{__version__}", "Accept-Encoding": "identity"}
            )
        try:
            response = self._session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        except requests.exceptions.InvalidURL as error:
            raise StatusError(0, f"{url} is no address: {error}.", "Check the address.") from None
        except requests.RequestException as error:
            raise unreachable(url, error) from None
        if response.status_code not in (200, 206, 416):
            response.close()
            raise status_error(url, response.status_code, response.headers.get("Retry-After"))
        return response

    def read(self, url: str) -> bytes:
        """The whole body of a small answer, with retries."""
        return self.retrying(lambda: self._read(url))

    def retrying(self, action: Callable[[], T], gained: Callable[[], int] = lambda: 0) -> T:
        """Call `action` until it succeeds; `gained` counts what survives a failure."""
        failures, before = 0, gained()
        while True:
            try:
                return action()
            except TransientError as error:
                if gained() > before:
                    failures, before = 0, gained()
                failures += 1
                if failures >= ATTEMPTS:
                    raise
                wait = backoff(failures, error.wait)
                if wait is None:
                    raise
                self.say(f"{error.message} Trying again in {wait:.0f} s.")
                self._sleep(wait)

    def _read(self, url: str) -> bytes:
        from urllib3.exceptions import HTTPError

        response = self.get(url)
        try:
            with response:
                body: bytes = response.raw.read(SMALL + 1)
        except (HTTPError, OSError) as error:
            raise unreachable(url, error) from None
        if len(body) > SMALL:
            raise StatusError(0, f"{url} is larger than expected.", "Check the address.")
        length = response.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and int(length) != len(body):
            raise TransientError(f"{url} ended early.", "Try again.")
        return body


def backoff(failures: int, asked: float | None) -> float | None:
    """Seconds to wait after so many failures in a row; None where the server asks too much."""
    if asked is not None and asked > LONGEST_RETRY_AFTER:
        return None
    wait: float = min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT)
    return max(wait, asked or 0.0)


def retry_after(value: str | None, now: datetime.datetime) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.strip().isdigit():
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return max(0.0, (then - now).total_seconds())


def status_error(url: str, status: int, after: str | None = None) -> VclawError:
    """The error for an HTTP status that is no success."""
    message = f"{url} answered with HTTP status {status}."
    if status in PASSING:
        wait = retry_after(after, datetime.datetime.now(datetime.UTC))
        hint = "Try again later" + (f", in {wait:.0f} s at the earliest." if wait else ".")
        return TransientError(message, hint, wait)
    return StatusError(status, message, "Check the address, and the proxy where there is one.")


def unreachable(url: str, error: Exception) -> TransientError:
    """The error for a connection that cannot be made, or breaks."""
    return TransientError(
        f"{url} cannot be read: {reason(error)}.",
        "Check the network, and HTTPS_PROXY where a proxy is needed; then run the command again. "
        "A download goes on where it stopped.",
    )


def reason(error: BaseException) -> str:
    """Why a network request failed: the innermost reason, in its own words."""
    import requests

    inner: BaseException | None = error
    while isinstance(inner, BaseException):
        error = inner
        reason = getattr(inner, "reason", None)
        nested = [arg for arg in inner.args if isinstance(arg, BaseException)]
        inner = reason if isinstance(reason, BaseException) else nested[0] if nested else None
    if isinstance(error, requests.Timeout) or "Timeout" in type(error).__name__:
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    errno = ERRNO.search(text)
    return errno[1] if errno else text.rsplit(": ", 1)[-1].strip(" .()'\"") or type(error).__name__
