"""How hostile payloads try things: each attempt is named, and says `ok` or the kernel's errno."""

import errno
import json
import os
import sys
from collections.abc import Callable

Action = Callable[[dict[str, object]], object]


def attempt(action: Callable[[], object]) -> str:
    """`ok` when the action succeeded, else the name of its errno."""
    try:
        action()
    except OSError as error:
        return name(error.errno)
    return "ok"


def name(number: int | None) -> str:
    return errno.errorcode.get(number or 0, str(number))


def write(path: str, text: str) -> None:
    """Write without creating: the target must exist to be a target."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def main(actions: dict[str, Action]) -> None:
    """Run the action named on the command line with the arguments on stdin; print its answer."""
    action = actions[sys.argv[1]]
    answer = action(json.load(sys.stdin))
    if answer is not None:
        json.dump(answer, sys.stdout)
