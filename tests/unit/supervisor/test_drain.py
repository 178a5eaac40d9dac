"""A drained stream lets go of what listened to it, so that its output is freed at once."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref

from fumehood.supervisor.harvest import Drain


class Owner:
    """As an invocation: holds the drain, and is held by it while it reads."""

    def __init__(self, fd: int) -> None:
        self.drain = Drain(fd, 1000, self.exceeded)
        self.drain.on_data = self.heard

    def exceeded(self) -> None: ...

    def heard(self, data: bytes) -> None: ...


def test_output_is_freed_without_the_cycle_collector() -> None:
    async def scenario() -> None:
        readable, writable = os.pipe()
        owner = Owner(readable)
        os.write(writable, b"x" * 500)
        os.close(writable)
        await owner.drain.done
        assert owner.drain.kept == b"x" * 500
        drain = weakref.ref(owner.drain)
        del owner
        assert drain() is None

    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()
