"""The watchdog promises to end a daemon whose loop hangs, and none whose loop waits, works, or was frozen with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import timedelta

from taskerman.model.event import Event
from taskerman.pulse import Pulse
from taskerman.watchdog import EXIT_CODE, Watchdog, watched

LIMIT = timedelta(seconds=100)


class Hours:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def script(steps: list[tuple[float, str]]) -> bool:
    """Whether the watchdog fires: it looks each 5 s; at each step's second the loop does something."""
    clock = Hours()
    pulse = Pulse(monotonic=clock)
    watchdog = Watchdog(pulse, LIMIT)
    todo = dict(steps)
    for second in range(int(max(todo)) + 1):
        match todo.get(second, "").split():
            case ["beat"]:
                pulse.beat()
            case ["rest", seconds]:
                pulse.rest(float(seconds))
            case ["pause", seconds]:
                pulse.pause(float(seconds))
        clock.now += 1
        if second % 5 == 4 and watchdog.look(5):
            return True
    return False


def test_a_loop_that_does_not_come_back_is_found_after_the_limit() -> None:
    assert script([(0, "beat"), (104, "")])
    assert not script([(0, "beat"), (90, "")])


def test_a_loop_that_overslept_is_found_after_the_limit() -> None:
    assert not script([(0, "rest 60"), (150, "")])
    assert script([(0, "rest 60"), (170, "")])


def test_a_loop_that_waits_as_long_as_it_said_is_left_alone() -> None:
    assert not script([(0, "rest 3600"), (3590, "beat"), (3600, "pause 500"), (4099, "beat"), (4150, "")])


def test_a_long_turn_that_gets_on_is_left_alone() -> None:
    assert not script([(second, "beat") for second in range(0, 2000, 90)])


def test_time_in_which_the_whole_process_was_frozen_is_not_held_against_its_loop() -> None:
    clock = Hours()
    pulse = Pulse(monotonic=clock)
    watchdog = Watchdog(pulse, LIMIT)
    pulse.beat()
    clock.now += 86400
    assert not watchdog.look(86400)  # thawed: the loop has had no time yet
    for _ in range(17):
        clock.now += 5
        assert not watchdog.look(5)
    for _ in range(3):
        clock.now += 5
        fired = watchdog.look(5)
    assert fired


def test_a_hung_loop_is_told_of_once_and_the_watch_ends_with_the_block() -> None:
    told: list[Event] = []
    hung = threading.Event()

    def end(event: Event, emit: object) -> None:
        told.append(event)
        hung.set()

    pulse = Pulse()
    with watched(pulse, timedelta(seconds=0.05), lambda event: None, end=end):
        pulse.beat()
        assert hung.wait(20)
    assert [(event.name, event.level) for event in told] == [("loop_hung", "error")]
    assert not [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def process(body: str) -> subprocess.CompletedProcess[str]:
    code = f"""
import threading, time
from datetime import timedelta
from taskerman.telemetry.telling import telling
with telling("agent", form="json", level="info", watchdog=timedelta(seconds=0.5)) as told:
    told.pulse.beat()
{body}
print("ended by itself", flush=True)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_a_process_whose_loop_hangs_while_other_threads_live_ends_with_the_stacks_of_all() -> None:
    done = process("""
    def lively():
        while True: time.sleep(0.01)
    threading.Thread(target=lively, daemon=True).start()
    def stuck_here(): threading.Lock().acquire() and threading.Event().wait()
    stuck_here()
""")
    assert done.returncode == EXIT_CODE
    assert "ended by itself" not in done.stdout
    assert '"event": "loop_hung"' in done.stderr
    assert "in stuck_here" in done.stderr
    assert "in lively" in done.stderr


def test_a_process_that_cannot_even_say_so_ends_all_the_same() -> None:
    """The log may be what hangs: a pipe that nobody reads."""
    done = process("""
    import taskerman.watchdog as watchdog
    watchdog._TELL_WITHIN_S = 0.3
    import sys
    sys.stderr.write = lambda text: time.sleep(1000)
    threading.Event().wait()
""")
    assert done.returncode == EXIT_CODE
    assert "ended by itself" not in done.stdout


HUNG = """
import threading
from datetime import timedelta
import taskerman.watchdog as watchdog
watchdog._TELL_WITHIN_S = 0.3
from taskerman.telemetry.telling import telling
with telling("agent", form="json", level="info", watchdog=timedelta(seconds=0.5)) as told:
    told.pulse.beat()
    threading.Event().wait()
"""


def test_a_hung_loop_ends_although_its_log_is_a_pipe_that_is_full() -> None:
    """What reads our log hangs as well: nothing that we write, and no stack, may keep the process from its end."""
    read, write = os.pipe()
    try:
        os.set_blocking(write, False)
        with suppress(BlockingIOError):
            while True:
                os.write(write, bytes(4096))
        os.set_blocking(write, True)
        with subprocess.Popen([sys.executable, "-c", HUNG], stderr=write) as hung:
            try:
                assert hung.wait(20) in (EXIT_CODE, -signal.SIGALRM)
            finally:
                hung.kill()
    finally:
        os.close(read)
        os.close(write)


def test_a_hung_loop_ends_although_there_is_no_standard_error() -> None:
    with subprocess.Popen(["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, HUNG]) as hung:
        try:
            assert hung.wait(20) == EXIT_CODE
        finally:
            hung.kill()
