"""The launchers of all configured engines, as one: a plan goes to the launcher of its engine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from functools import partial

from fumehood.errors import EngineError
from fumehood.launcher import messages as m
from fumehood.launcher.client import LauncherClient, Sandbox
from fumehood.model.plan import Plan


class Launchers:
    """One client for each engine, in the operator's order."""

    def __init__(self, clients: Mapping[str, LauncherClient]) -> None:
        self._clients = dict(clients)

    @property
    def engines(self) -> tuple[str, ...]:
        return tuple(self._clients)

    @property
    def clients(self) -> tuple[LauncherClient, ...]:
        return tuple(self._clients.values())

    def hellos(self) -> dict[str, m.Hello | None]:
        """What each engine's launcher said of itself; None: there is none just now."""
        return {
            engine: client.hello.result() if client.hello.done() else None
            for engine, client in self._clients.items()
        }

    def open(self, name: str, plan: Plan, stdio: tuple[int, int, int]) -> Sandbox:
        """See `LauncherClient.open`.

        Raises:
            EngineError: the engine is not configured, or has no launcher just now.
            ProtocolError: the plan is too large to send.
        """
        client = self._clients.get(plan.engine)
        if client is None:
            raise EngineError(
                f"the engine {plan.engine!r} does not run here",
                f"name it under engines in the configuration; there is {', '.join(self.engines)}",
                control="engine",
            )
        return client.open(name, plan, stdio)

    def replace(self, engine: str, channel: socket.socket) -> None:
        """Use a new launcher of an engine; whatever the old one held is over."""
        client = self._clients.get(engine)
        if client is None:
            channel.close()
            return
        client.replace(channel)

    def acknowledged(self, seconds: float) -> list[asyncio.Future[None]]:
        """See `LauncherClient.acknowledged`; of each launcher."""
        return [client.acknowledged(seconds) for client in self._clients.values()]

    def on_hung(self, report: Callable[[str], None]) -> None:
        """Call `report` with the engine of a launcher that does not answer any more."""
        for engine, client in self._clients.items():
            client.on_hung = partial(report, engine)

    def close(self) -> None:
        """Let go of all launchers, which kill all their sandboxes and end."""
        for client in self._clients.values():
            client.close()
