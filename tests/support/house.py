"""Callers and registrations over a real catalog, with what is recorded of them and no socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from fumehood.admission.admit import Admission
from fumehood.admission.authorize import Authorizer
from fumehood.admission.conduct import Conduct
from fumehood.admission.quota import Quota
from fumehood.catalog.store import Catalog
from fumehood.config import Config
from fumehood.errors import FumehoodError, Unauthorized, UnknownSession
from fumehood.model.principal import Principal
from fumehood.model.request import Caller
from fumehood.supervisor.attempts import Attempts
from fumehood.supervisor.callers import Callers
from fumehood.supervisor.registration import Registration
from fumehood.supervisor.showing import Showing
from support.manifests import caller, document

OPERATOR, MALLORY, ANN = caller(0, 0), caller(1000), caller(1001)
WRONG = UnknownSession("there is no such session")


def _principal(who: Caller) -> Principal:
    return Principal(f"uid:{who.uid}", frozenset({"operators"} if who == OPERATOR else ()))


class Book:
    """Attempts at a clock of our own, with what was recorded."""

    def __init__(self) -> None:
        self.now = 0.0
        self.records: list[tuple[str, Mapping[str, Any]]] = []
        self.attempts = Attempts(_principal, self.record, self.append, lambda: self.now)

    async def record(self, event: str, fields: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        self.records.append((event, fields))

    def append(self, event: str, fields: Mapping[str, Any]) -> None:
        self.records.append((event, fields))

    def refused(self, who: Caller, count: int = 1, error: FumehoodError = WRONG) -> None:
        async def all_of_them() -> None:
            for _ in range(count):
                await self.attempts.refused(who, "session.close_refused", error)

        asyncio.run(all_of_them())


class House:
    """Callers and Registration over a real catalog."""

    def __init__(self, catalog: Catalog, **config_keys: object) -> None:
        config = Config.model_validate(
            {
                "callers": {"users": [1000, 1001]},
                "operators": {"users": [0]},
                "rules": [{"effect": "allow", "who": ["ann"]}],
                "roles": {"ann": {"users": [1001]}},
                **config_keys,
            }
        )
        self.book = Book()
        self.admission = admission = Admission(
            catalog.get,
            authorizer=Authorizer(config, own_uid=None),
            quota=Quota(per_caller=9, conduct=Conduct(lambda: self.book.now)),
            lint=lambda _: None,
        )

        async def operator_only(caller: Caller, event: str) -> None:
            if caller.uid != 0:
                raise Unauthorized(event)

        self.callers = Callers(
            admission, self.book.append, self.book.record, operator_only, self.book.attempts
        )
        self.registration = Registration(
            catalog, admission, self.book.record, operator_only, self.book.attempts, lambda: None,
            lambda texts: [()] * len(texts),
        )  # fmt: skip

        self.showing = Showing(catalog, admission, operator_only, self.book.attempts)

    @property
    def last(self) -> tuple[str, Mapping[str, Any]]:
        return self.book.records[-1]

    def add(self, who: Caller, accept: tuple[str, ...] = (), **changes: object) -> None:
        text = json.dumps(document(run__files=None, run__command=["cat"], **changes))
        asyncio.run(self.registration.add(who, text, {}, accept))
