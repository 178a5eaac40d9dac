"""Two of these at once look for each other for a while."""

import json
import os
import sys
import time

arguments = json.load(sys.stdin)
MARK = f"/tmp/{arguments['mark']}"
open(MARK, "w").close()
open(f"/out/{arguments['mark']}", "w").close()
seen, files = set(), set()
until = time.monotonic() + float(arguments["seconds"])
while time.monotonic() < until:
    seen |= {int(name) for name in os.listdir("/proc") if name.isdigit()}
    files |= set(os.listdir("/tmp")) | set(os.listdir("/out"))
    time.sleep(0.02)


def there(pid: int) -> bool:
    """Whether a signal could be sent, or would be denied: either way somebody is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


answered = [pid for pid in range(1, 1 << 15) if there(pid)]
json.dump(
    {"answered": answered, "seen": sorted(seen), "files": sorted(files), "pid": os.getpid()},
    sys.stdout,
)
