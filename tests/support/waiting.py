"""Waiting for what another process does, however slow the machine is."""

import time

PATIENCE = 120.0


def wait_for(condition, what, patience=PATIENCE):
    """The first true value of `condition()`; AssertionError naming `what` when none came."""
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {patience:g} s for {what}"
        time.sleep(0.05)
