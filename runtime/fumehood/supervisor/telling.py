"""Tells whoever made a call how it goes on: bounded in rate and in size, nothing queued.

It must never hold the invocation up: a peer that is behind gets less, and later. What it is told
was scanned; all of the output comes with the answer in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Final

import structlog

from fumehood.model.live import Listener, Progress, Update
from fumehood.model.request import RegisteredTool
from fumehood.scan.partial import Partial
from fumehood.supervisor.live import Live

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 0.2
"""At most one update in this time."""
OUTPUT_BYTES: Final = 128 * 1024
"""Of stdout in one update: 640 KiB/s of it are shown, the rest comes with the answer."""


@contextlib.contextmanager
def telling(
    live: Live,
    listener: Listener | None,
    output: Callable[[RegisteredTool], Partial],
    workers: Executor,
) -> Iterator[None]:
    """While inside, the listener is told; nothing more once this is left."""
    if listener is None or live.tool is None:
        yield
        return
    teller = Teller(live, listener, output(live.tool), workers)
    task = asyncio.get_running_loop().create_task(teller.run())
    task.add_done_callback(_recorded)
    try:
        yield
    finally:
        task.cancel()


def _recorded(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a listener is not told any more", exc_info=error)


class Teller:
    """What one listener has heard so far of one invocation."""

    def __init__(self, live: Live, listener: Listener, output: Partial, workers: Executor) -> None:
        """output: the scanner of its partial output."""
        self._live = live
        self._listener = listener
        self._partial = output
        self._workers = workers
        self._told: Progress | None = None
        self._at = 0

    async def run(self) -> None:
        """Until cancelled, when there is nothing more to tell."""
        if self._partial.why and self._wants_output():
            await self._listener.tell(Update(None, "", self._partial.why))
        while True:
            await self._live.changed.wait()
            self._live.changed.clear()
            update = Update(self._progress(), await self._output())
            if update.progress or update.text:
                await self._listener.tell(update)
            await asyncio.sleep(EVERY_SECONDS)

    def _progress(self) -> Progress | None:
        """Only what rose: MCP wants each notification's value above the one before."""
        progress = self._live.progress()
        if progress is None or (self._told and progress.value <= self._told.value):
            return None
        self._told = progress
        return progress

    async def _output(self) -> str:
        if self._live.stdout is None or self._partial.over or not self._wants_output():
            return ""
        data = self._live.stdout.part(self._at, OUTPUT_BYTES)
        if not data:
            return ""
        self._at += len(data)
        if len(data) == OUTPUT_BYTES:
            self._live.changed.set()  # there may be more
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, self._partial.feed, data)

    def _wants_output(self) -> bool:
        """A tool with an outputSchema answers with one JSON document: there is no part of it to
        show, and what its escapes hide is searched only once it is whole."""
        tool = self._live.tool
        structured = tool is None or tool.manifest.outputSchema is not None
        return self._listener.wants_output and not structured
