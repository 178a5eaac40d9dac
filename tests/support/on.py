"""The same tool on either engine of one daemon, by the front door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from support.hood import Hood


@dataclass(frozen=True)
class On:
    """The daemon, for tools of one engine."""

    hood: Hood
    engine: str

    @property
    def contained(self) -> bool:
        return self.engine == "docker"

    def script(self, script: str, *, warm: str = "none", **limits: object) -> str:
        """Register a tool that runs a Python script; its name."""
        name = f"{self.engine}-{abs(hash((script, warm, str(limits)))):x}"
        command = ["/usr/bin/python3", "-c", script]
        run = {"command": command, "engine": self.engine, "warm": warm}
        self.hood.register(None, name, command=command, run=run, limits=limits)
        return name

    def call(
        self, script: str, arguments: Mapping[str, object] | None = None, **limits: object
    ) -> dict[str, Any]:
        """The result of one call of such a tool."""
        result = self.hood.call(self.script(script, **limits), arguments)
        assert result["status"] != "engine_error", result["message"]
        return result
