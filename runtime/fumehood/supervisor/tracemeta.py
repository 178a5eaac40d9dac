"""Tells a tool that asks of the trace it runs in: under `_meta` beside its arguments.

In the input, not in the environment: a sandbox that was opened ahead has its environment already.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fumehood.model import strict_json, tracing
from fumehood.model.request import Admitted

META: Final = "_meta"


def told_the_trace(admitted: Admitted, *, traced: bool) -> Admitted:
    """The call as its tool gets it; unchanged where it does not ask, or there is no trace.

    What is on record of the arguments is what the caller gave.
    """
    if not admitted.tool.manifest.run.trace:
        return admitted
    request = admitted.request
    meta = tracing.told(request.invocation, request.trace, traced=traced)
    if not meta:
        return admitted
    given = strict_json.dumps({**request.arguments, META: meta})
    return replace(admitted, request=replace(request, arguments_json=given))
