"""The operator's configuration: who may call, and the most that any tool may have.

Must never start from a file that somebody else could have written, and never guess at a key
it does not know. Every field has a default, a unit and bounds; a missing file is all defaults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from fumehood.errors import ConfigError
from fumehood.model.behaviour import Behaviour
from fumehood.model.document import MAX_BYTES, DocumentError, dotted, parse, shown
from fumehood.model.faults import explain, nearest
from fumehood.model.forward import ForwardSpec
from fumehood.model.host import Pressure, Storage
from fumehood.model.incident_rules import IncidentSpec
from fumehood.model.limits import KIB, MIB, CeilingsSpec, bounds, whole
from fumehood.model.published import published_schema
from fumehood.model.quotas import Approvals, Budget, Rates, Sessions, check_budgets
from fumehood.model.rules import MAX_RULES, Rule, check_rules, role_name
from fumehood.model.scan_policy import ScanSpec
from fumehood.model.strict import Strict, distinct, listed
from fumehood.model.telemetry import TelemetrySpec
from fumehood.model.trust import KeyId, Publisher, PublisherName
from fumehood.model.units import FieldError, Seconds, Size, format_seconds, format_size
from fumehood.places import Places as Places
from fumehood.places import places as places
from fumehood.trusted import read_trusted

MAX_UID: Final = 2**31 - 3
"""Many programs hold a UID in a signed integer, and the kernel takes -1 for "unchanged"."""
FIRST_FREE_UID: Final = 65_536
"""Below lie people, system accounts, systemd's dynamic users and `nobody` (65534, 65535)."""

Engine = Literal["bubblewrap", "docker"]
Runtime = Literal["runc", "runsc", "kata"]
# Of the host; of runtimes that hide a tool from it (engines.promises.UNSEEN); of programs older
# than a fix (engines.versions). A test holds the three lists together.
Control = Literal[
    "service_account",
    "memory",
    "cpu",
    "pids",
    "scratch",
    "runsc.gate",
    "runsc.memory",
    "runsc.pids",
    "runsc.readback",
    "runsc.scratch",
    "runsc.seccomp",
    "kata.gate",
    "kata.memory",
    "kata.pids",
    "kata.readback",
    "kata.scratch",
    "kata.seccomp",
    "CVE-2019-14271",
    "CVE-2019-16884",
    "CVE-2019-5736",
    "CVE-2020-15257",
    "CVE-2021-30465",
    "CVE-2021-41091",
    "CVE-2022-23648",
    "CVE-2022-29162",
    "CVE-2022-36109",
    "CVE-2023-27561",
    "CVE-2024-21626",
    "CVE-2024-42472",
]

# POSIX 3.437 User Name, with the $ that Debian allows at the end left out.
_ACCOUNT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", re.ASCII)


def _account(value: object) -> str | int:
    if type(value) is int and 0 <= value <= MAX_UID:
        return value
    if isinstance(value, str) and _ACCOUNT_NAME.fullmatch(value):
        return value
    raise FieldError(f"{shown(value)} is no account", "write a name or a number")


Account = Annotated[
    str | int,
    BeforeValidator(_account),
    WithJsonSchema({"type": ["string", "integer"], "minimum": 0, "maximum": MAX_UID}),
]
AccountName = Annotated[
    str,
    AfterValidator(lambda value: str(_account(value))),
    WithJsonSchema({"type": "string", "pattern": f"^{_ACCOUNT_NAME.pattern}$"}),
]


class Principals(Strict):
    """Local accounts, by name or number. Two empty lists mean nobody."""

    users: Annotated[tuple[Account, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=4096, description="users, by name or UID"
    )
    groups: Annotated[tuple[Account, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=4096, description="groups, by name or GID"
    )


class Accounts(Strict):
    """The range of host UIDs (and equal GIDs) that tools run as, and one more behind it; nobody
    else may use them."""

    first: Annotated[int, *whole(FIRST_FREE_UID, MAX_UID - 1)] = Field(
        default=1_900_000_000, description="first UID"
    )
    count: Annotated[int, *whole(1, 1_000_000)] = Field(
        default=10_000, description="how many; each tool name takes one and keeps it"
    )

    @property
    def libraries(self) -> int:
        """The account that pip, npm and Python's compiler run as: behind the range, never a
        tool's."""
        return self.first + self.count

    @model_validator(mode="after")
    def _fits(self) -> Accounts:
        if self.libraries > MAX_UID:
            raise FieldError(
                f"the range {self.first} to {self.libraries - 1}, and {self.libraries} for "
                f"libraries, passes {MAX_UID}",
                "lower first or count",
            )
        return self


def _socket_path(path: str) -> str:
    # sockaddr_un(7): 108 bytes, the last one a NUL
    if not path.startswith("/") or ".." in path.split("/") or not 1 < len(path.encode()) < 108:
        raise FieldError(f"{shown(path)} is no absolute path of a Unix socket")
    return path


class DockerEngine(Strict):
    """Which Docker Engine the engine `docker` uses, and with which of its runtimes."""

    socket: Annotated[str, AfterValidator(_socket_path)] = Field(
        default="/var/run/docker.sock", description="the daemon's Unix socket"
    )
    runtimes: Annotated[tuple[Runtime, ...], AfterValidator(distinct), BeforeValidator(listed)] = (
        Field(
            default=("runc",),
            min_length=1,
            description="runtimes that tools may name under run.runtime",
        )
    )


def _budgets(budgets: tuple[Budget, ...], info: ValidationInfo) -> tuple[Budget, ...]:
    check_budgets(budgets, info.data.get("roles", {}))
    return budgets


def _rules(rules: tuple[Rule, ...] | None, info: ValidationInfo) -> tuple[Rule, ...] | None:
    check_rules(rules or (), info.data.get("roles", {}), info.data.get("publishers", {}))
    return rules


class Shutdown(Strict):
    """How the daemon ends."""

    grace: Annotated[Seconds, bounds(0.01, 3_600, format_seconds)] = Field(
        default=10.0, description="running calls may end within this time; then they are cancelled"
    )


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path or len(path) > 4095:
        raise FieldError(f"{shown(path)} is no absolute path")
    return path


class Keys(Strict):
    """Where the master key comes from, and how long keys of the ring are used."""

    master_file: Annotated[str, AfterValidator(_absolute)] | None = Field(
        default=None, description="file of mode 0600; unset: keys/root.json in the state"
    )
    master_credential: str | None = Field(
        default=None, max_length=255, description="name of a systemd credential"
    )
    master_command: Annotated[tuple[str, ...], BeforeValidator(listed)] | None = Field(
        default=None, min_length=1, max_length=64, description="program that prints the key"
    )
    active_days: Annotated[int, *whole(1, 3_650)] = Field(
        default=365, description="how long a new key signs and encrypts"
    )
    verify_days: Annotated[int, *whole(1, 36_500)] = Field(
        default=3650, description="how long after that it still verifies and decrypts"
    )
    warn_days: Annotated[int, *whole(1, 365)] = Field(
        default=30, description="how long before its end an active key is warned of"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Keys:
        named = [self.master_file, self.master_credential, self.master_command]
        if sum(source is not None for source in named) > 1:
            raise FieldError("names more than one source of the master key", "keep one of them")
        if self.master_command:
            _absolute(self.master_command[0])
        return self


class AuditSpec(Strict):
    """What records keep besides digests."""

    content: Annotated[tuple[str, ...], AfterValidator(distinct), BeforeValidator(listed)] = Field(
        default=(), max_length=1000, description="tools of which arguments and output are kept"
    )


class MetricsSpec(Strict):
    """Where Prometheus reads."""

    listen: str = Field(
        default="", max_length=64, description="`unix`, or a loopback address with its port"
    )


class Config(Strict):
    """What the operator decides. See docs/configuration.md."""

    socket_group: AccountName = Field(
        default="fumehood", description="group that may connect to the socket (as root)"
    )
    supervisor_user: AccountName = Field(
        default="fumehood", description="account the supervisor drops to (as root)"
    )
    callers: Principals | None = Field(
        default=None, description="who may call tools; unset: the socket group, or you yourself"
    )
    operators: Principals | None = Field(
        default=None, description="who may also change the catalog; unset: root, or you yourself"
    )
    roles: dict[Annotated[str, AfterValidator(role_name)], Principals] = Field(
        default_factory=dict,
        max_length=256,
        description="names for principals, for rules; callers and operators are built in",
    )
    publishers: dict[PublisherName, Publisher] = Field(
        default_factory=dict, max_length=64, description="whose signatures on tools are believed"
    )
    revoked_keys: Annotated[tuple[KeyId, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=1024, description="ids of keys that are not believed any more"
    )
    require_signature: bool = Field(
        default=False, description="add and approve only tools that a publisher has signed"
    )
    rules: Annotated[
        tuple[Rule, ...] | None,
        AfterValidator(_rules),
        BeforeValidator(lambda value: value if value is None else listed(value)),
    ] = Field(
        default=None,
        max_length=MAX_RULES,
        description="who may call what; unset: operators may call all, callers if `callers` is set",
    )
    approvals: Approvals = Field(default_factory=Approvals)
    sessions: Sessions = Field(default_factory=Sessions)
    rates: Rates = Field(default_factory=Rates)
    budgets: Annotated[tuple[Budget, ...], AfterValidator(_budgets), BeforeValidator(listed)] = (
        Field(default=(), max_length=64, description="what calls may use in an hour or a day")
    )
    adaptive: bool = Field(
        default=True, description="tighten for a while what a caller may do that is often refused"
    )
    tighten_at: Annotated[int, *whole(5, 100_000)] = Field(
        default=20, description="points at which `adaptive` begins; a refusal is one point"
    )
    accounts: Accounts = Field(default_factory=Accounts)
    ceilings: CeilingsSpec = Field(default_factory=CeilingsSpec)
    accept_unenforced: Annotated[tuple[Control, ...], BeforeValidator(listed)] = Field(
        default=(), description="controls that may be missing on this host, by name"
    )
    engines: Annotated[tuple[Engine, ...], AfterValidator(distinct), BeforeValidator(listed)] = (
        Field(
            default=("bubblewrap",),
            min_length=1,
            description="engines that run; the first one is for tools that name none",
        )
    )
    docker: DockerEngine = Field(default_factory=DockerEngine)
    sandboxes: Annotated[int, *whole(1, 4_096)] = Field(default=64, description="sandboxes at once")
    warm: Annotated[int, *whole(0, 1_024)] = Field(
        default=16, description="sandboxes kept open ahead of calls; 0 opens each when it is called"
    )
    warm_per_tool: Annotated[int, *whole(1, 256)] = Field(
        default=4, description="of these, at most so many of one tool"
    )
    queue: Annotated[int, *whole(0, 65_536)] = Field(
        default=256, description="invocations that wait for a sandbox"
    )
    queue_timeout: Annotated[Seconds, bounds(1, 3_600, format_seconds)] = Field(
        default=30.0, description="longest wait for a sandbox"
    )
    per_caller: Annotated[int, *whole(1, 65_536)] = Field(
        default=160, description="invocations of one caller, running and waiting together"
    )
    per_session: Annotated[int, *whole(1, 65_536)] | None = Field(
        default=None, description="invocations of one session, running and waiting together"
    )
    per_tool: Annotated[int, *whole(1, 4_096)] = Field(
        default=64, description="invocations of one tool that run at once; more of them wait"
    )
    pressure: Pressure = Field(default_factory=Pressure)
    storage: Storage = Field(default_factory=Storage)
    behaviour: Behaviour = Field(default_factory=Behaviour)
    shutdown: Shutdown = Field(default_factory=Shutdown)
    keys: Keys = Field(default_factory=Keys)
    incidents: IncidentSpec = Field(default_factory=IncidentSpec)
    audit: AuditSpec = Field(default_factory=AuditSpec)
    metrics: MetricsSpec = Field(default_factory=MetricsSpec)
    forward: ForwardSpec = Field(default_factory=ForwardSpec)
    telemetry: TelemetrySpec = Field(default_factory=TelemetrySpec)
    scan: ScanSpec = Field(default_factory=ScanSpec)
    frame_bytes: Annotated[Size, bounds(4 * KIB, 64 * MIB, format_size)] = Field(
        default=16 * MIB, description="longest message on the socket"
    )
    connections: Annotated[int, *whole(2, 4_096)] = Field(
        default=128, description="connections at once"
    )
    in_flight_per_connection: Annotated[int, *whole(1, 4_096)] = Field(
        default=64, description="unanswered requests of one connection"
    )
    idle_frame_timeout: Annotated[Seconds, bounds(1, 600, format_seconds)] = Field(
        default=30.0, description="a message that has begun must be complete by then"
    )

    def accepting(self, controls: Iterable[str]) -> Config:
        """This configuration with more `accept_unenforced`, as given on a command line.

        Raises ConfigError for a name that is no control.
        """
        accepted = {*self.accept_unenforced, *controls}
        if unknown := sorted(accepted.difference(get_args(Control))):
            raise ConfigError(
                f"accept_unenforced: unknown control {shown(unknown[0])}",
                nearest(unknown[0], get_args(Control)),
            )
        return self.model_copy(update={"accept_unenforced": tuple(sorted(accepted))})

    @classmethod
    def from_json(cls, text: str) -> Config:
        """What `model_dump_json` wrote, as it goes from one process to the next."""
        return cls.model_validate(json.loads(text))


def load(path: Path, *, trusted_uid: int, required: bool = False) -> Config:
    """Read the operator's file, or raise ConfigError naming file, line and remedy.

    Args:
        trusted_uid: besides root, whose file is believed: the operator's own when rootless.
        required: a missing file is an error instead of all defaults, because it was named.
    """
    data = read_trusted(path, trusted_uid, most_bytes=MAX_BYTES)
    if data is None and required:
        raise ConfigError(f"{path} does not exist", "create it, or leave the option out")
    return read_text(str(path), data)


def read_text(name: str, data: bytes | None) -> Config:
    """The configuration that a file of that name holds; None is a missing file, all defaults.

    Raises ConfigError naming file, line and remedy.
    """
    if data is None:
        return Config()
    try:
        document = parse(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: byte {error.start} is not UTF-8", "save it as UTF-8") from None
    except DocumentError as error:
        where = f"{name}:{error.line}" if error.line else name
        raise ConfigError(
            f"{where}: {error.cause}",
            error.remedy,
            recorded=f"{where}: not YAML as it is read here",
        ) from None
    value: object = {} if document.value is None else document.value
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        fault = explain(Config, error)
        line = document.line_of(fault.path)
        where = f"{name}:{line}" if line else name
        key = f"{dotted(fault.path)}: " if fault.path else ""
        # Below the first key a path has names that the operator chose.
        known = fault.path[0] if fault.path and fault.path[0] in Config.model_fields else "the file"
        raise ConfigError(
            f"{where}: {key}{fault.cause}", fault.remedy, recorded=f"{where}: {known} is refused"
        ) from None


def config_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file, for editors and for docs/configuration.md."""
    parts = (
        Accounts, Approvals, Sessions, Rates, CeilingsSpec, DockerEngine, Pressure, Storage,
        Behaviour, Shutdown, Keys, IncidentSpec, AuditSpec, MetricsSpec, ForwardSpec,
        TelemetrySpec, ScanSpec,
    )  # fmt: skip
    return published_schema(Config, Config, *parts)
