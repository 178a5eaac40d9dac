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
json.dump({"seen": sorted(seen), "files": sorted(files), "pid": os.getpid()}, sys.stdout)
