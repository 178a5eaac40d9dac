"""Abuses stdin, stdout, stderr and the end of the process."""

import os
import signal
import sys
import time

from attempts import main

CHUNK = b"x" * 65536
LINE = b"x" * 99 + b"\n"
Arguments = dict[str, object]


def flood(arguments: Arguments) -> None:
    """10 GB, with or without line ends, on either stream."""
    descriptor = {"stdout": 1, "stderr": 2}[str(arguments["stream"])]
    block = CHUNK if arguments.get("one_line") else LINE * 600
    left = 10 * 10**9
    while left > 0:
        left -= os.write(descriptor, block)


def flood_both(_: Arguments) -> None:
    if os.fork():
        flood({"stream": "stdout"})
    flood({"stream": "stderr", "one_line": True})


def drops(arguments: Arguments) -> None:
    """Many writes of one byte."""
    for _ in range(int(str(arguments["bytes"]))):
        os.write(1, b"x")


def daemon(_: Arguments) -> None:
    """Double fork, new session, own descriptors: the classic way to outlive one's parent."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            time.sleep(3600)
        os._exit(0)
    os.wait()
    os.write(1, b"left a daemon")


def holder(_: Arguments) -> None:
    """Exit while a child still holds both streams."""
    if os.fork() == 0:
        time.sleep(3600)
    os.write(1, b"left a holder")
    os._exit(0)


def deaf() -> None:
    """Never reads its arguments."""
    os.write(1, b"did not listen")


def closes_everything(_: Arguments) -> None:
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    time.sleep(0.1)
    os._exit(0)


def nested(arguments: Arguments) -> None:
    depth = int(str(arguments["depth"]))
    left = b"[" * depth + b"]" * depth
    while left:
        left = left[os.write(1, left) :]


def says(arguments: Arguments) -> None:
    """Print the bytes given as hexadecimal digits: anything but a JSON object of the schema."""
    sys.stdout.buffer.write(bytes.fromhex(str(arguments["hex"])) * int(str(arguments["times"])))


def noise(_: Arguments) -> None:
    """Every byte value, in no encoding."""
    sys.stdout.buffer.write(bytes(range(256)) * 64)


def exits(arguments: Arguments) -> None:
    os._exit(int(str(arguments["code"])))


def kills_itself(arguments: Arguments) -> None:
    os.kill(os.getpid(), int(str(arguments["signal"])))


def aborts(_: Arguments) -> None:
    os.abort()


if __name__ == "__main__":
    if sys.argv[1] == "deaf":
        deaf()
    else:
        main(
            {
                action.__name__: action
                for action in (
                    flood, flood_both, drops, daemon, holder, closes_everything, nested, says,
                    noise, exits, kills_itself, aborts,
                )
            }
        )  # fmt: skip
