"""Supervised threads: the failure of a worker is logged once, and it is restarted with a backoff."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic

log = logging.getLogger(__name__)

FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 60.0
"""Seconds until a failed worker is restarted, doubled from the first to the longest."""

DOWN_TOO_LONG = 120.0
"""Seconds that a worker may be down before the process counts as unhealthy."""

_STEADY = 10.0  # seconds after which a step that has not failed yet counts as a successful restart
_LOOK_EVERY = 1.0
_STUCK = 600.0  # seconds after which a step that has not ended counts as a failure
_MOST_SAID = 20  # different errors that are remembered of each worker
_SAY_AGAIN = 3600.0  # seconds after which an error that goes on is logged once more
_IDLE_THREAD = 60.0  # seconds after which a thread of a pool ends that has nothing to do

StartThread = Callable[[Callable[[], None], str], threading.Thread]
"""Starts a daemon thread that runs a function under a name; raises what `threading.Thread.start` raises."""


def start_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


class Health:
    """The health of a worker: whether it works, since when it does not, how often it was restarted."""

    def __init__(self, name: str) -> None:
        self.name = name
        """What the metrics and the log call it."""
        self.restarts = 0
        self._failures = 0
        self._failing_since: float | None = None
        self._step_began: float | None = None
        self._said: dict[str, float] = {}

    def is_up(self, now: float) -> bool:
        """`now` is in monotonic seconds, here and below."""
        return self.down_for(now) == 0.0

    def down_for(self, now: float) -> float:
        """Seconds since the first failure after which nothing succeeded; 0 if it works."""
        failing, began = self._failing_since, self._step_began
        if began is not None and now - began >= _STEADY:
            return max(now - began - _STUCK, 0.0)
        if failing is None:
            return 0.0
        return max(now - failing, 1e-9)

    def begins(self, now: float) -> None:
        """A step begins; after a failure that is a restart."""
        self._step_began = now
        if self._failing_since is not None:
            self.restarts += 1

    def succeeded(self) -> None:
        self._step_began = None
        self._failures = 0
        if self._failing_since is not None:
            self._failing_since = None
            self._said.clear()
            log.info("worker %s: works again", self.name)

    def failed(self, error: BaseException, now: float) -> float:
        """Note an error and return the seconds until a restart."""
        self._step_began = None
        if self._failing_since is None:
            self._failing_since = now
        self.log_once(error)
        self._failures += 1
        return min(FIRST_BACKOFF * 2.0 ** min(self._failures - 1, 10), LONGEST_BACKOFF)

    def log_once(self, error: BaseException) -> None:
        """Log an error in one sentence, unless it was logged in the last hour and goes on."""
        said, now = f"{type(error).__name__}: {error}", monotonic()
        if now - self._said.get(said, float("-inf")) > _SAY_AGAIN:
            while len(self._said) >= _MOST_SAID:
                self._said.pop(next(iter(self._said.copy()), ""), None)
            self._said[said] = now
            log.error("worker %s: failed and will be restarted: %s", self.name, said)
        log.debug("worker %s: the traceback of its failure", self.name, exc_info=error)


class Worker(Health):
    """Calls `step` again and again in a thread of its own.

    `step(now)` does what is due at `now` (monotonic seconds), may block, and returns the seconds until it
    wants to be called again; `wake` has it called earlier. What it raises ends no thread: it is called
    again after a backoff, during which `wake` has no effect.
    """

    def __init__(self, name: str, step: Callable[[float], float], start: StartThread = start_thread) -> None:
        super().__init__(name)
        self._step = step
        self.start = start
        """How the thread is started."""
        self._changed = threading.Condition()
        self._woken = False
        self._stopped = False
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._start_at = float("-inf")

    def wake(self) -> None:
        """Have the next step called at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    @property
    def is_woken(self) -> bool:
        """Whether the next step is to be called at once."""
        return self._woken

    def stop(self) -> None:
        """Call no further step; returns at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def is_running(self) -> bool:
        """Whether it has a thread."""
        return self._thread is not None and self._thread.is_alive()

    def join(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic) for the step that is under way; call `stop` first."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(deadline - monotonic(), 0.0))

    def check(self, now: float) -> None:
        """Start the thread if there is none: at the beginning, and when it ended or could not be started."""
        with self._starting:
            self._check(now)

    def _check(self, now: float) -> None:
        if self._stopped or self.is_running or now < self._start_at:
            return
        if self._thread is not None and self._failing_since is None:
            self._start_at = now + self.failed(RuntimeError("its thread has ended"), now)
            self._thread = None
            return
        try:
            self._thread = self.start(self._run, self.name)
        except Exception as error:  # noqa: BLE001 - the system may refuse a thread for many reasons
            self._start_at = now + self.failed(error, now)

    def attempt(self, now: float) -> tuple[float, bool]:
        """Call `step` once; the seconds until the next call, and whether `wake` may shorten them."""
        with self._changed:
            self._woken = False
        self.begins(now)
        try:
            pause = self._step(now)
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker goes on
            return self.failed(error, now), False
        self.succeeded()
        return pause, True

    def _run(self) -> None:
        while not self._stopped:
            pause, wakeable = self.attempt(monotonic())
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopped or (wakeable and self._woken),  # noqa: B023 - called before the next round
                    max(min(pause, threading.TIMEOUT_MAX), 0.0),
                )


class Pool(Health):
    """Runs functions in up to `most` threads, started when all are busy and ended after a minute without work.

    What a function raises is logged and counted as a restart; the pool is down only while it cannot start a
    thread, and the work waits for one.
    """

    def __init__(self, name: str, most: int, start: StartThread = start_thread) -> None:
        super().__init__(name)
        self._most = most
        self._start = start
        self._changed = threading.Condition()
        self._urgent: deque[Callable[[], None]] = deque()
        self._work: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._idle = 0
        self._stopped = False
        self._start_at = float("-inf")

    def submit(self, work: Callable[[], None], is_urgent: bool = False) -> None:
        """Have a function run as soon as there is a thread for it, urgent ones before all others.

        Once the pool was stopped it does not run at all.
        """
        with self._changed:
            if self._stopped:
                return
            (self._urgent if is_urgent else self._work).append(work)
            self._changed.notify()
        self.check(monotonic())

    def stop(self) -> None:
        """Begin no further function; returns at once."""
        with self._changed:
            self._stopped = True
            self._urgent.clear()
            self._work.clear()
            self._changed.notify_all()

    def join(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic) for what is under way; call `stop` first."""
        with self._changed:
            self._changed.wait_for(lambda: self._threads == 0, max(deadline - monotonic(), 0.0))

    def check(self, now: float) -> None:
        """Start a thread if there is work for it."""
        with self._changed:
            waiting = len(self._urgent) + len(self._work)
            if not waiting and self._failing_since is not None:
                self.succeeded()  # the threads that there are have done it
            enough = waiting <= self._idle or self._threads >= self._most
            if self._stopped or enough or now < self._start_at:
                return
            self._threads += 1
        try:
            self._start(self._run, f"{self.name} pool")
        except Exception as error:  # noqa: BLE001 - the system may refuse a thread for many reasons
            with self._changed:
                self._threads -= 1
            self._start_at = now + self.failed(error, now)
        else:
            self.succeeded()

    def _run(self) -> None:
        try:
            while (work := self._next()) is not None:
                try:
                    work()
                except Exception as error:  # noqa: BLE001 - whatever it is, the pool goes on
                    self.restarts += 1
                    self.log_once(error)
                del work  # while the thread waits, what it worked on may go
        finally:
            with self._changed:
                self._threads -= 1
                self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._idle += 1
            try:
                self._changed.wait_for(lambda: self._stopped or self._urgent or self._work, _IDLE_THREAD)
            finally:
                self._idle -= 1
            waiting = self._urgent or self._work
            return waiting.popleft() if waiting and not self._stopped else None


class Supervisor:
    """Starts the threads of workers and pools, and starts them again; safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._members: tuple[Worker | Pool, ...] = ()
        self._stopped = threading.Event()

    def start(self, each_look: Callable[[], None] = lambda: None) -> None:
        """Supervise the members in a thread, which also calls `each_look` each second."""

        def run() -> None:
            while not self._stopped.wait(_LOOK_EVERY):
                try:
                    self.check(self._clock())
                    each_look()
                except Exception:  # this thread has no supervisor
                    log.exception("the supervisor failed")

        start_thread(run, "supervisor")

    def add(self, *members: Worker | Pool) -> None:
        """Supervise members; the threads of workers are started at once."""
        with self._lock:
            self._members += members
        for member in members:
            member.check(self._clock())

    def remove(self, *members: Worker | Pool) -> None:
        """Supervise members no longer; the caller stops them."""
        with self._lock:
            self._members = tuple(member for member in self._members if member not in members)

    def states(self, now: float) -> Mapping[str, tuple[bool, int]]:
        """Whether each is up and how often it was restarted, by name; those of one name together."""
        found: dict[str, tuple[bool, int]] = {}
        for member in self._members:
            is_up, restarts = found.get(member.name, (True, 0))
            found[member.name] = is_up and member.is_up(now), restarts + member.restarts
        return found

    def check(self, now: float) -> None:
        """Start the threads that are missing."""
        for member in self._members:
            member.check(now)

    def down(self, now: float) -> list[str]:
        """The names of those that could not be restarted for two minutes."""
        return [member.name for member in self._members if member.down_for(now) > DOWN_TOO_LONG]

    def stop(self) -> None:
        """Stop all members; returns at once."""
        self._stopped.set()
        for member in self._members:
            member.stop()
