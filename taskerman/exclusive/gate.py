"""The process in which a command will run, before it may: it waits at a pipe, and then becomes the command.

So the command's pid and session are known, and recorded with its slot, before it is begun; and if whoever holds the
other end of the pipe dies, nothing is begun. Run by itself, without the rest of the package:
`python -I -S gate.py GO TOLD PROGRAM WORDS...`. `GO`: the descriptor on which one byte says go. `TOLD`: where the
number of an error goes if the program cannot be executed.
"""

import errno
import os
import signal
import sys


def _environment() -> dict[bytes, bytes]:
    """As it was handed to this process: the interpreter may have added to its own."""
    try:
        with open("/proc/self/environ", "rb") as file:
            pairs = [pair.partition(b"=") for pair in file.read().split(b"\0") if b"=" in pair]
    except OSError:
        return dict(os.environb)
    return {name: value for name, _, value in pairs}


def main() -> None:
    """Wait, and become the command. Ends with 127 or 126 where that cannot be done, as a shell does."""
    go, told = int(sys.argv[1]), int(sys.argv[2])
    program, words = sys.argv[3], sys.argv[4:]
    os.set_inheritable(told, False)
    if os.read(go, 1) != b"g":
        os._exit(0)
    os.close(go)
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)  # the interpreter ignores them, and that would be inherited
    environment = _environment()
    try:
        os.execve(program, words, environment)  # noqa: S606  a list of words, as everywhere
    except OSError as error:
        failed = error.errno
    if failed == errno.ENOEXEC:  # a script without a first line that names its interpreter: as a shell takes it
        try:
            os.execve("/bin/sh", ["sh", program, *words[1:]], environment)  # noqa: S606  it is that script
        except OSError as error:
            failed = error.errno
    os.write(told, str(failed).encode())
    os._exit(127 if failed == errno.ENOENT else 126)


if __name__ == "__main__":
    main()
