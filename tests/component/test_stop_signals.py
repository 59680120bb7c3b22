"""A signal stops a command at whatever moment it comes."""

import subprocess
import sys

ROUNDS = """
import random, signal, threading
from ccl_exporter.cli.shared import on_signals

moments = random.Random(1)
for _ in range(2000):
    stopped = threading.Event()
    with on_signals(stopped.set, signal.SIGALRM):
        signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-6, 3e-4))
        stopped.wait()
"""


def test_the_wait_of_a_command_ends_whenever_the_signal_comes() -> None:
    """Also just before it begins, and while it has the lock of its event."""
    subprocess.run([sys.executable, "-c", ROUNDS], check=True, timeout=60)
