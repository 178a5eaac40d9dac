"""Where the program begins; imports nothing before a Ctrl-C can be answered as everywhere else.

The command line takes a tenth of a second to be imported, long enough for a person to change
their mind.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The console script; ends the process with the documented exit status."""
    try:
        from fumehood.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)  # errors.ExitStatus.CANCELLED, which may be what was being imported


if __name__ == "__main__":
    main()
