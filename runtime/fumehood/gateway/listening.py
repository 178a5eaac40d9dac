"""What one call's maker wants to hear while it runs, and the frames that tell it.

Progress as MCP has it, in both eras: a request with a `progressToken` gets
`notifications/progress`. Partial output is ours, and only for who asked for it by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import anyio
import structlog

from fumehood.errors import UsageError
from fumehood.gateway import jsonrpc
from fumehood.gateway.jsonrpc import Message, RequestId
from fumehood.model.live import Progress, Update

log = structlog.get_logger(__name__)

FOLLOW: Final = "fumehood/follow"
"""A `tools/call` with this `_meta` key set to true gets `notifications/fumehood/output`."""
OUTPUT_METHOD: Final = "notifications/fumehood/output"
TOKEN_CHARACTERS: Final = 128


@dataclass(frozen=True, slots=True)
class Hearing:
    """One caller that listens to its call. See `model.live.Listener`."""

    request_id: RequestId
    token: RequestId | None
    wants_output: bool
    send: Callable[[bytes], Awaitable[None]]

    async def tell(self, update: Update) -> None:
        try:
            if update.progress is not None and self.token is not None:
                params = _progress(self.token, update.progress)
                await self.send(jsonrpc.notification_frame("notifications/progress", params))
            if (update.text or update.note) and self.wants_output:
                output = {"requestId": self.request_id, "stream": "stdout", "text": update.text}
                if update.note:
                    output["note"] = update.note
                await self.send(jsonrpc.notification_frame(OUTPUT_METHOD, output))
        except anyio.BrokenResourceError:
            log.debug("notification dropped: the peer is gone")


def hearing(message: Message, send: Callable[[bytes], Awaitable[None]]) -> Hearing | None:
    """What the message asks to hear; None when it asks for nothing.

    Raises:
        UsageError: its progressToken cannot be one.
    """
    token, follow = message.meta.get("progressToken"), message.meta.get(FOLLOW) is True
    if message.id is None or (token is None and not follow):
        return None
    if token is not None and not _is_token(token):
        raise UsageError(
            f"a progressToken is an integer or a string of at most {TOKEN_CHARACTERS} characters",
            "leave it out, or send one",
        )
    return Hearing(message.id, token, follow, send)


def _is_token(token: object) -> bool:
    if isinstance(token, str):
        return len(token) <= TOKEN_CHARACTERS
    return isinstance(token, int) and not isinstance(token, bool)


def _progress(token: RequestId, progress: Progress) -> dict[str, Any]:
    params: dict[str, Any] = {"progressToken": token, "progress": progress.value}
    if progress.total is not None:
        params["total"] = progress.total
    if progress.message:
        params["message"] = progress.message
    return params
