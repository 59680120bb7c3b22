"""Sources of prices: a file, or a URL whose last valid response is stored."""

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from time import time

from ccl_exporter.control.plan.prices import Slot
from ccl_exporter.errors import UsageError
from ccl_exporter.text import file_key, is_header_value, mask_urls

EVERY = 1800.0
"""Seconds between two requests for the prices of a URL that are answered, also across restarts."""

_AGAIN = 60.0
"""Seconds until a URL that did not answer is tried again."""

_DEADLINE = 20.0
"""Seconds for a whole answer, and for each part of it."""

MOST = 8_000_000
"""Characters or bytes of prices that are read at most."""

_SCHEMES = ("http://", "https://")

Parse = Callable[[str], Sequence[Slot]]


def is_url(name: str) -> bool:
    """Whether prices of this name come from a URL."""
    return name.lower().startswith(_SCHEMES)


def file_prices(name: str, parse: Parse) -> Sequence[Slot]:
    """The prices in a file; raises `UsageError`."""
    try:
        with Path(name).open(encoding="utf-8") as file:
            text = file.read(MOST)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def token_header(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The header for the token in `CCL_PRICES_TOKEN`, or in the file that `CCL_PRICES_TOKEN_FILE` names.

    `Name: value` is a header of its own, anything else is sent as `Authorization: Bearer`. Raises `UsageError`.
    """
    token, path = environment.get("CCL_PRICES_TOKEN"), environment.get("CCL_PRICES_TOKEN_FILE")
    if token is None and path is not None:
        try:
            token = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the token file {path} cannot be read") from error
    token = (token or "").strip()
    if not token:
        return {}
    if not is_header_value(token):
        raise UsageError("the token for the prices holds a character that no token can have")
    name, colon, value = token.partition(": ")
    return {name: value} if colon else {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True, slots=True)
class _Answered:
    """The last good answer: when it was given or confirmed, and when an answer came last (Unix seconds)."""

    taken: float
    asked: float
    etag: str
    text: str


@dataclass
class UrlPrices:
    """The prices of a URL, requested at most every half an hour; `folder` keeps the last valid response.

    `say` is called with a sentence when the URL fails, and when it works again; meanwhile the last prices count.
    """

    url: str
    folder: Path
    parse: Parse
    say: Callable[[str], None]
    headers: Mapping[str, str] = field(default_factory=dict)
    now: Callable[[], float] = time
    deadline: float = _DEADLINE
    _last: _Answered | None = None
    _parsed: tuple[str, Sequence[Slot]] | None = None
    _wait_until: float = float("-inf")
    _failure: str = ""
    _unstored: bool = False
    _request: threading.Thread | None = None

    def __post_init__(self) -> None:
        name = f"{file_key(self.url)}.json"
        self._path = self.folder / "prices" / name
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            self._last = _Answered(
                float(kept["taken"]), float(kept["asked"]), str(kept["etag"]), str(kept["text"])
            )
        except (OSError, ValueError, TypeError, KeyError):
            self._last = None

    @property
    def shown(self) -> str:
        """The URL without a login and without its query, which may hold a token."""
        return mask_urls(self.url)

    def age(self) -> float | None:
        """How many seconds ago the prices were given or confirmed; None if there are none."""
        return None if self._last is None else max(self.now() - self._last.taken, 0.0)

    def read(self) -> Sequence[Slot]:
        """The prices as they are known now; empty if there never were any.

        Raises `UsageError` if `parse` does not accept the stored ones.
        """
        if self._is_due(self.now()):
            try:
                self._ask()
                self._report("")
            except UsageError as error:
                self._report(str(error))
        if self._last is None:
            return ()
        if self._parsed is None or self._parsed[0] != self._last.text:
            self._parsed = self._last.text, self.parse(self._last.text)
        return self._parsed[1]

    def _is_due(self, now: float) -> bool:
        if self._last is not None and 0 <= now - self._last.asked < EVERY:
            return False
        # A clock that was set back must not keep it waiting.
        return not now < self._wait_until <= now + EVERY

    def _report(self, failure: str) -> None:
        if failure == self._failure:
            return
        self._failure = failure
        age = self.age()
        if not failure:
            self.say(f"{self.shown} gives prices again")
        elif age is None:
            self.say(f"{self.shown}: {failure}; without prices the car charges as late as possible")
        else:
            self.say(f"{self.shown}: {failure}; the prices of {age / 3600:.1f} h ago are used")

    def _ask(self) -> None:
        """Take the prices from the URL; raises `UsageError` without the URL in it."""
        last = self._last
        self._wait_until = self.now() + _AGAIN
        status, etag, text = self._fetched()
        self._wait_until = self.now() + EVERY
        if status == 304 and last is not None:
            self._store(_Answered(self.now(), self.now(), last.etag, last.text))
            return
        if last is not None:
            self._store(_Answered(last.taken, self.now(), last.etag, last.text))
        if status != 200:
            raise UsageError(f"it answers {status}")
        self.parse(text)
        self._store(_Answered(self.now(), self.now(), etag, text))

    def _store(self, answered: _Answered) -> None:
        self._last = answered
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(answered), file)
            fresh.replace(self._path)
        except OSError as error:
            if not self._unstored:
                self.say(
                    f"{self._path} cannot be written, so a restart does not know these prices: {error.strerror}"
                )
            self._unstored = True

    def _fetched(self) -> tuple[int, str, str]:
        """Status, ETag and text of an answer; in a thread, as a server may send a byte now and then for ever."""
        if self._request is not None and self._request.is_alive():
            raise UsageError("the last request still has no complete answer")
        answers: SimpleQueue[tuple[int, str, str] | UsageError] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._get())
            except UsageError as error:
                answers.put(error)

        self._request = threading.Thread(target=ask, name="prices", daemon=True)
        self._request.start()
        try:
            answer = answers.get(timeout=self.deadline)
        except Empty:
            raise UsageError(f"no complete answer within {self.deadline:g} s") from None
        if isinstance(answer, UsageError):
            raise answer
        return answer

    def _get(self) -> tuple[int, str, str]:
        import requests  # noqa: PLC0415 - large, and few have a URL

        headers = {**self.headers, "Accept": "application/json, text/csv"}
        if self._last is not None and self._last.etag:
            headers["If-None-Match"] = self._last.etag
        body = bytearray()
        try:
            with requests.get(
                self.url,
                headers=headers,
                # A login in .netrc would take the place of the token, which must not be carried to another host.
                auth=(lambda request: request) if self.headers else None,
                allow_redirects=not self.headers,
                timeout=self.deadline,
                stream=True,
            ) as answer:
                if answer.status_code == 200:
                    for part in answer.iter_content(65_536):
                        body += part
                        if len(body) > MOST:
                            raise UsageError(f"its answer has more than {MOST // 1_000_000} MB")
                return answer.status_code, answer.headers.get("ETag", ""), body.decode("utf-8-sig")
        except requests.Timeout:
            raise UsageError(f"no complete answer within {self.deadline:g} s") from None
        except requests.exceptions.SSLError:
            raise UsageError("no TLS, or its certificate is not trusted") from None
        except requests.ConnectionError:
            raise UsageError("no connection") from None
        except (requests.RequestException, UnicodeDecodeError, ValueError) as error:
            # The text of the error may hold the URL.
            raise UsageError(f"its answer cannot be used ({type(error).__name__})") from None
