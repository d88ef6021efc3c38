"""Ties a process to the one that started it, so that a killed `relay dev` leaves nothing running behind it."""

import os
import signal
import sys
import threading

LEAVE_SECONDS_MAX = 10.0


def hold() -> None:
    """From now on this process gets a SIGTERM when standard input ends: the starter has closed it, or is gone."""
    threading.Thread(target=_wait, args=(sys.stdin.fileno(),), name="tether", daemon=True).start()


def _wait(descriptor: int) -> None:
    while os.read(descriptor, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # What it would take leave of has ended with the starter: a goodbye that hangs must not keep it here.
    threading.Event().wait(LEAVE_SECONDS_MAX)
    os.kill(os.getpid(), signal.SIGKILL)
