"""A tool that writes what it is told to, in pieces, wherever it is told to."""

from __future__ import annotations

PROGRAM = """
import base64, json, os, sys, time
said = json.load(sys.stdin)
undo = lambda text: base64.b64decode(text)
for path, text in said.get("files", {}).items():
    with open("/out/" + path, "wb") as file:
        file.write(undo(text))
for stream, text in said.get("writes", []):
    os.write(1 if stream == "out" else 2, undo(text))
    time.sleep(said.get("pause", 0))
if "noise" in said:
    os.write(1, b"")
    with open(1, "wb", closefd=False) as out:
        for _ in range(said["noise"] // 65536):
            out.write(base64.b64encode(os.urandom(49152)))
sys.exit(said.get("exit", 0))
"""
"""`writes`: a list of (`out` or `err`, base64), `pause` seconds after each; `files`: names in /out
to base64; `noise`: bytes of random base64 at the end."""
