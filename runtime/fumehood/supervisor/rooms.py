"""What the supervisor is composed of. `fumehood.daemon` alone makes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fumehood.admission.admit import Admission
from fumehood.audit.chain import AuditLog
from fumehood.audit.find import Found
from fumehood.catalog.poisoning import Finder
from fumehood.catalog.store import Catalog
from fumehood.config import Config
from fumehood.launcher.clients import Launchers
from fumehood.model.plan import Plan
from fumehood.model.request import Admitted
from fumehood.scan.pipeline import Pipeline
from fumehood.supervisor.finishing import Finishing
from fumehood.supervisor.habits import Habits
from fumehood.supervisor.incidents import Incidents
from fumehood.supervisor.pool import Pool
from fumehood.supervisor.pressure import Gate
from fumehood.supervisor.receipts import Receipts
from fumehood.supervisor.slots import Slots
from fumehood.supervisor.stops import Stops


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the supervisor is composed of. `config` is the one it starts with; `plan` joins a call
    with the operator's ceilings; `digest` is the keyed digest under which arguments and results
    are recorded; `records` searches the audit log for an invocation, and blocks. `habits` knows
    what tools usually take. `find` looks for instructions to models in a manifest."""

    catalog: Catalog
    admission: Admission
    config: Config
    plan: Callable[[Admitted], Plan]
    slots: Slots
    gate: Gate
    launchers: Launchers
    pool: Pool
    pipeline: Pipeline
    audit: AuditLog
    records: Callable[[str], Found]
    digest: Callable[[bytes], str]
    habits: Habits
    receipts: Receipts
    stops: Stops
    incidents: Incidents
    finishing: Finishing
    find: Finder
