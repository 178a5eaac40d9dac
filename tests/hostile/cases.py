"""What hostile tools do, and what must be seen: one row a case.

A case names a payload under payloads/, its arguments, the statuses that may come of it, and a
check of the result object. What must hold after every case (nothing alive, the host unchanged,
others served) is in test_hostile.py, not here.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from support.scan import github_token

Result = dict[str, Any]
Check = Callable[[Result], None]

MIB = 1 << 20
MEMORY = 64 * MIB
PIDS = 32
OUTPUT = 1 * MIB
SCRATCH = 8 * MIB

OK = frozenset({"ok"})
TIMEOUT = frozenset({"timeout"})
MEMORY_EXCEEDED = frozenset({"memory_exceeded"})
OUTPUT_EXCEEDED = frozenset({"output_exceeded"})
TOOL_ERROR = frozenset({"tool_error"})
SYSCALL_KILLED = frozenset({"syscall_killed"})

INTEGER_SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


@dataclass(frozen=True)
class Case:
    """One hostile call.

    payload, action: `python3 /tool/PAYLOAD.py ACTION`, or the compiled prober's arguments when
    payload is `prober`. arguments: JSON on its stdin; `{secret}`, `{port}` and `{abstract}` are
    filled in with what the test put on the host. limits: beside those of support.hood.LIMITS.
    """

    name: str
    payload: str
    action: str
    statuses: frozenset[str]
    check: Check
    arguments: Mapping[str, object] = field(default_factory=dict)
    limits: Mapping[str, object] = field(default_factory=dict)
    output_schema: Mapping[str, object] | None = None

    @property
    def group(self) -> str:
        """Its row in docs/engines.md."""
        return f"hostile: {'system calls' if self.payload == 'prober' else self.payload}"

    @property
    def command(self) -> list[str]:
        if self.payload == "prober":
            return ["/tool/prober", *self.action.split(maxsplit=1)]
        return ["python3", f"/tool/{self.payload}.py", self.action]


# --- reading results ----------------------------------------------------------------------


def said(result: Result) -> str:
    """The tool's stdout as it was released."""
    return "".join(block["text"] for block in result["content"] if block["type"] == "text")


def answers(result: Result) -> dict[str, Any]:
    """The JSON object that a payload printed."""
    found = json.loads(said(result))
    assert isinstance(found, dict)
    return found


def files(result: Result) -> dict[str, str]:
    """Artifacts by name: their text, or base64."""
    blocks = [block["resource"] for block in result["content"] if block["type"] == "resource"]
    return {
        unquote(block["uri"].split("/out/", 1)[1]): block.get("text", block.get("blob", ""))
        for block in blocks
    }


def refused(result: Result) -> str:
    """Everything that the findings say, for a search."""
    return json.dumps(result["findings"])


def breached(control: str) -> Check:
    def check(result: Result) -> None:
        assert result["breach"]["control"] == control
        assert result["breach"]["observed"] is not None

    return check


def both(*checks: Check) -> Check:
    def check(result: Result) -> None:
        for one in checks:
            one(result)

    return check


def anything(_: Result) -> None:
    """The status says it all."""


# --- resources ----------------------------------------------------------------------------


def few_processes(result: Result) -> None:
    assert result["usage"]["pids_peak"] <= PIDS


def one_core(result: Result) -> None:
    usage = result["usage"]
    assert usage["cpu_seconds"] <= 1.5 * usage["wall_seconds"] + 0.5


def busy(result: Result) -> None:
    """What children used counts, the dead ones included."""
    assert result["usage"]["cpu_seconds"] > 0.2


def within_memory(result: Result) -> None:
    assert result["usage"]["memory_peak_bytes"] <= MEMORY + MIB


def child_died(result: Result) -> None:
    """The kernel killed a child only, and the tool said that all is well."""
    assert result["exit_code"] == 0
    breached("memory")(result)


def scratch_was_bounded(result: Result) -> None:
    filled = answers(result)
    assert 0 < sum(filled.values()) <= SCRATCH


def at_most(key: str, most: int) -> Check:
    def check(result: Result) -> None:
        assert 0 < answers(result)[key] <= most

    return check


def nothing_was_raised(result: Result) -> None:
    assert "ok" not in answers(result).values()


SHORT = {"timeout": "2s"}

RESOURCES = [
    Case("fork-bomb", "resources", "fork_bomb", TIMEOUT, few_processes, limits=SHORT),
    Case("fork-spin", "resources", "fork_spin", TIMEOUT, both(one_core, busy), limits=SHORT),
    Case("thread-spin", "resources", "thread_spin", TIMEOUT, both(one_core, busy), limits=SHORT),
    Case(
        "thread-bomb", "resources", "thread_bomb", OK, at_most("threads", PIDS),
        limits={"timeout": "30s"},  # gVisor's ptrace platform creates threads slowly
    ),
    Case("zombies", "resources", "zombies", OK, at_most("zombies", PIDS)),
    Case("sleep", "resources", "sleep", TIMEOUT, breached("timeout"), limits=SHORT),
    Case("ignore-sigterm", "resources", "ignore_sigterm", TIMEOUT, anything, limits=SHORT),
    Case("stop-self", "resources", "stop_self", TIMEOUT, anything, limits=SHORT),
    Case("heap", "resources", "heap", MEMORY_EXCEEDED, both(breached("memory"), within_memory)),
    Case("child-heap", "resources", "child_heap", MEMORY_EXCEEDED, child_died),
    Case("shared-memory", "resources", "shared", MEMORY_EXCEEDED, within_memory),
    Case(
        "page-cache", "resources", "page_cache", OK, both(within_memory, at_most("read", 10**10)),
        arguments={"bytes": 3 * MEMORY}, limits={"timeout": "30s"},
    ),
    Case("pipes", "resources", "pipes", OK | MEMORY_EXCEEDED, within_memory),
    Case("scratch-bytes", "resources", "scratch", OK, scratch_was_bounded),
    Case(
        "scratch-memory", "resources", "scratch_memory", MEMORY_EXCEEDED, within_memory,
        limits={"scratch": "128MiB"},
    ),
    Case("scratch-inodes", "resources", "inodes", OK, at_most("files", SCRATCH // 4096)),
    Case("descriptors", "resources", "descriptors", OK, at_most("descriptors", 1 << 20)),
    Case("raise-limits", "resources", "raise_limits", OK, nothing_was_raised),
]  # fmt: skip


# --- streams ------------------------------------------------------------------------------


def cut_at_the_cap(result: Result) -> None:
    assert result["truncated"] is True
    assert len(said(result)) <= OUTPUT + 4096
    assert len(result["stderr"]) <= OUTPUT + 4096
    breached("output")(result)


def stdout_was(text: str) -> Check:
    def check(result: Result) -> None:
        assert said(result) == text

    return check


def exited(code: int) -> Check:
    def check(result: Result) -> None:
        assert (result["exit_code"], result["breach"]) == (code, None)

    return check


def nothing_structured(result: Result) -> None:
    assert result["structured"] is None
    assert result["exit_code"] == 0


def every_byte_is_accounted_for(result: Result) -> None:
    text = said(result)
    assert "\x1b" not in text
    assert "\0" not in text
    assert result["usage"]["stdout_bytes"] == 256 * 64


def flood(name: str, stream: str, *, one_line: bool) -> Case:
    return Case(
        name, "streams", "flood", OUTPUT_EXCEEDED, cut_at_the_cap,
        arguments={"stream": stream, "one_line": one_line}, limits={"timeout": "30s"},
    )  # fmt: skip


def bad_answer(name: str, text: str | bytes, *, times: int = 1) -> Case:
    """Output that is not the JSON that the schema promises."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return Case(
        name, "streams", "says", TOOL_ERROR | {"withheld"}, nothing_structured,
        arguments={"hex": data.hex(), "times": times}, output_schema=INTEGER_SCHEMA,
    )  # fmt: skip


STREAMS = [
    flood("stdout-flood", "stdout", one_line=False),
    flood("one-line-flood", "stdout", one_line=True),
    flood("stderr-flood", "stderr", one_line=False),
    Case(
        "both-floods", "streams", "flood_both", OUTPUT_EXCEEDED, cut_at_the_cap,
        limits={"timeout": "30s"},
    ),
    Case("drops", "streams", "drops", OK, stdout_was("x" * 50_000), arguments={"bytes": 50_000}),
    Case("daemon", "streams", "daemon", OK, stdout_was("left a daemon")),
    Case("holder", "streams", "holder", OK, stdout_was("left a holder")),
    Case(
        "deaf", "streams", "deaf", OK, stdout_was("did not listen"),
        arguments={"unread": "x" * 900_000},
    ),
    Case("closes-everything", "streams", "closes_everything", OK, stdout_was("")),
    Case(
        "nested-text", "streams", "nested", OK, stdout_was("[" * 100_000 + "]" * 100_000),
        arguments={"depth": 100_000},
    ),
    Case(
        "nested-answer", "streams", "nested", TOOL_ERROR | {"withheld"}, nothing_structured,
        arguments={"depth": 100_000}, output_schema=INTEGER_SCHEMA,
    ),
    bad_answer("no-json", "plain"),
    bad_answer("nan", '{"n": NaN}'),
    bad_answer("infinite", '{"n": 1e999}'),
    bad_answer("duplicate-keys", '{"n": "x", "n": 1}'),
    bad_answer("lone-surrogate", '{"n": 1, "x": "\\ud800"}'),
    bad_answer("invalid-utf8", b'{"n": 1, "x": "\xff"}'),
    bad_answer("huge-integer", '{"n": ' + "9" * 5000 + "}"),
    bad_answer("two-documents", '{"n": 1}', times=2),
    bad_answer("wrong-type", '{"n": "1"}'),
    bad_answer("nothing", ""),
    Case("noise", "streams", "noise", OK | {"withheld"}, every_byte_is_accounted_for),
    Case("exit-3", "streams", "exits", TOOL_ERROR, exited(3), arguments={"code": 3}),
    Case("exit-137", "streams", "exits", TOOL_ERROR, exited(137), arguments={"code": 137}),
    Case(
        "kills-itself", "streams", "kills_itself", TOOL_ERROR, lambda r: breached_not(r),
        arguments={"signal": 9},
    ),
    Case("aborts", "streams", "aborts", TOOL_ERROR, lambda r: no_core(r)),
]  # fmt: skip


TOKEN = github_token()
HIDDEN = (
    f"plain {TOKEN}",
    f"split {TOKEN[:12]}\x1b[31m{TOKEN[12:]}",
    f"spaced {TOKEN[:12]}\u200b{TOKEN[12:]}",
    "base64 " + base64.b64encode(f"the token is {TOKEN}".encode()).decode(),
    "gzip " + base64.b64encode(gzip.compress(f"the token is {TOKEN}".encode())).decode(),
    "hex " + f"the token is {TOKEN}".encode().hex(),
    json.dumps({"log": f"line\n{TOKEN}\n"}).replace("p_", "p\\u005f", 1),
    "percent " + "".join(f"%{byte:02x}" for byte in TOKEN.encode()),
)
"""One secret as a tool may write it."""


def kept_the_secret(result: Result) -> None:
    whole = json.dumps(result)
    assert TOKEN not in whole
    lines = said(result).splitlines()
    assert len(lines) == len(HIDDEN)
    assert all("[redacted:" in line for line in lines), lines
    steps = {f["decoded"] for f in result["findings"] if f["place"].startswith("stdout")}
    assert {"base64", "base64>gzip", "hex", "escape"} <= steps
    for form in HIDDEN:
        assert form not in whole


STREAMS.append(
    Case(
        "secret-in-many-forms", "streams", "says", OK, kept_the_secret,
        arguments={"hex": "\n".join(HIDDEN).encode().hex(), "times": 1},
    )
)  # fmt: skip


def breached_not(result: Result) -> None:
    """SIGKILL alone proves no limit."""
    assert result["breach"] is None


def no_core(result: Result) -> None:
    assert files(result) == {}


# --- artifacts ----------------------------------------------------------------------------

SECRET = "only the host may read this line"


def nothing_of_the_host(result: Result) -> None:
    everything = json.dumps(result)
    assert SECRET not in everything
    assert "root:" not in everything


def plain_arrived(result: Result) -> None:
    assert files(result)["plain"] == "plain text"


def not_collected(*names: str) -> Check:
    """None of them arrived, and a finding names each."""

    def check(result: Result) -> None:
        nothing_of_the_host(result)
        plain_arrived(result)
        for name in names:
            assert name not in files(result)
            assert name in refused(result)

    return check


LINKS = (
    "absolute", "climbing", "proc", "self", "fd", "inside", "shadow", "loop", "dangling", "device",
)  # fmt: skip


def links_stayed_outside(result: Result) -> None:
    made = answers(result)
    assert {made["usr"], made["tool"], made["proc"], made["tmp"]} <= {"EXDEV", "EPERM"}
    assert made["two"] == "ok"
    assert not {"usr", "tool", "environ", "tmp", "one", "two"} & set(files(result))
    plain_arrived(result)


def no_device_was_made(result: Result) -> None:
    made = answers(result)
    assert made["char"] == made["block"] == "EPERM"
    assert {"socket", "listener"}.isdisjoint(files(result))
    plain_arrived(result)


def names_are_harmless(result: Result) -> None:
    plain_arrived(result)
    for name in files(result):
        assert name.isprintable(), ascii(name)
        assert "\u202e" not in name


def modes_are_harmless(result: Result) -> None:
    """Nobody's permission bits stop or mislead the collecting."""
    plain_arrived(result)
    found = files(result)
    assert all(found[name] == name for name in set(found) & {"none", "setuid", "setgid", "write"})


def out_stayed(result: Result) -> None:
    assert "ok" not in answers(result).values()
    plain_arrived(result)


def bounded_in_number(result: Result) -> None:
    assert len(files(result)) <= 1024
    assert len(result["findings"]) <= 1024


SECRET_FILE = {"secret": "{secret}"}

ARTIFACTS = [
    Case(
        "symlinks", "artifacts", "symlinks", OK, not_collected(*LINKS), arguments=SECRET_FILE,
    ),
    Case(
        "symlinked-parent", "artifacts", "symlinked_parent", OK, not_collected("directory", "root"),
        arguments=SECRET_FILE,
    ),
    Case("hard-links", "artifacts", "hard_links", OK, links_stayed_outside),
    Case("fifo", "artifacts", "fifo", OK, not_collected("fifo")),
    Case("special-files", "artifacts", "special", OK, no_device_was_made),
    Case(
        "sparse", "artifacts", "sparse", OUTPUT_EXCEEDED,
        both(not_collected("sparse"), breached("output")),
    ),
    Case(
        "large", "artifacts", "large", OUTPUT_EXCEEDED,
        both(not_collected("large"), breached("output")),
        arguments={"bytes": 4 * MIB},
    ),
    Case("deep-tree", "artifacts", "deep", OK, plain_arrived),
    Case(
        "many-files", "artifacts", "many", OK, bounded_in_number,
        limits={"timeout": "30s"},
    ),
    Case("names", "artifacts", "names", OK, names_are_harmless),
    Case("modes", "artifacts", "modes", OK, modes_are_harmless),
    Case("exchanges", "artifacts", "exchanges", OK, nothing_of_the_host),
    Case("replaces-out", "artifacts", "replaces_out", OK, out_stayed),
]  # fmt: skip


# --- network ------------------------------------------------------------------------------


def reached_nothing(result: Result) -> None:
    tried = answers(result)
    assert tried.pop("interfaces") == ["lo"]
    assert len(tried) > 10
    assert "ok" not in tried.values()


def no_family_is_open(result: Result) -> None:
    assert set(answers(result).values()) <= {"EPERM", "ENOSYS"}


NETWORK = [
    Case(
        "reach", "network", "reach", OK, reached_nothing,
        arguments={"port": "{port}", "abstract": "{abstract}"},
    ),
    Case("socket-families", "network", "families", OK, no_family_is_open),
]  # fmt: skip


# --- escape -------------------------------------------------------------------------------


def gained_nothing(result: Result) -> None:
    found = answers(result)
    assert found.pop("groups") == []
    assert found.pop("euid") is True
    assert not any(found.pop("programs").values())
    assert not found.pop("own").startswith("0 ")
    assert not found.pop("unshare program").startswith("0 ")
    assert "ok" not in found.values()


def no_namespace(result: Result) -> None:
    found = answers(result)
    assert found.pop("bwrap") is False
    assert set(found.values()) <= {"EPERM", "EACCES", "ENOENT"}


def no_mount(result: Result) -> None:
    assert set(answers(result).values()) == {"EPERM"}


def no_kernel_file(result: Result) -> None:
    found = answers(result)
    assert [path for path, answer in found["writes"].items() if answer == "ok"] == []
    # /proc/1 is bubblewrap's own init, of the same account, with an empty environment.
    reads = [path for path, answer in found["reads"].items() if answer == "ok"]
    assert set(reads) <= {"/proc/1/environ"}


def only_its_own_root(result: Result) -> None:
    shown_own_root(answers(result))


def shown_own_root(found: dict[str, Any], made_up: frozenset[str] = frozenset()) -> None:
    """made_up: directories whose content is an invention of the engine's."""
    own = {name for name, listing in found.pop("/").items() if listing not in ([], "ENOTDIR")}
    foreign = {"root", "home", "var", "srv", "opt", "run", "sys", "boot"} - made_up
    assert foreign.isdisjoint(own)
    for way, names in found.items():
        assert isinstance(names, str) or not {"root", "home", "var"} & set(names), way


def three_descriptors(result: Result) -> None:
    assert set(answers(result)) == {"0", "1", "2"}


def two_places(result: Result) -> None:
    found = answers(result)
    # Docker shows the scratch space under a third name; it is as bounded, and as little executable.
    assert set(found["directories"]) - {"/dev/shm"} == {"/tmp", "/out"}
    assert found["sockets"] == []


def no_native_code(result: Result) -> None:
    found = answers(result)
    assert found.pop("memfd") == "EPERM"
    assert found
    for way, answer in found.items():
        assert not answer.startswith("0 "), way


def alone(result: Result) -> None:
    found = answers(result)
    assert found.pop("seen") == [1, found.pop("self")]
    found.pop("kill all")  # permitted, of itself and nobody else
    assert set(found.values()) == {"EPERM"}


ESCAPE = [
    Case("privilege", "escape", "privilege", OK, gained_nothing),
    Case("namespaces", "escape", "namespaces", OK, no_namespace),
    Case("mounts", "escape", "mounts", OK, no_mount),
    Case("kernel-files", "escape", "kernel_files", OK, no_kernel_file),
    Case("roots", "escape", "roots", OK, only_its_own_root),
    Case("inherited-descriptors", "escape", "descriptors", OK, three_descriptors),
    Case(
        "writable", "escape", "writable", OK, two_places,
        # The names of a whole /usr are kernel memory of whoever first asks for them.
        limits={"timeout": "60s", "memory": "512MiB"},
    ),
    Case("execution", "escape", "execution", OK, no_native_code),
    Case("others", "escape", "others", OK, alone),
]  # fmt: skip


# --- system calls -------------------------------------------------------------------------

TRIPWIRES = (
    "bpf", "userfaultfd", "perf_event_open", "keyctl", "add_key", "request_key", "init_module",
    "finit_module", "delete_module", "kexec_load", "open_by_handle_at",
)  # fmt: skip
FOREIGN = ("i386 getpid", "i386 socketcall", "i386 socket vsock", "x32 getpid", "x32 socket vsock")
YOUNG = ("open_tree_attr", "listmount")
"""Docker's runtime is told calls by name: what its libseccomp does not know yet does not exist."""
MISSING = ("clone3", "unknown 500", "unknown 9999")


def all_denied(result: Result) -> None:
    found: dict[str, str] = {}
    for line in said(result).splitlines():
        found |= json.loads(line)
    assert len(found) > 70
    for name, answer in found.items():
        expected = "EPERM"
        if name in TRIPWIRES or name.startswith(("i386 ", "x32 ")):
            expected = "SIGSYS"
        elif name in MISSING:
            expected = "ENOSYS"
        elif name in YOUNG and answer == "ENOSYS":
            continue
        assert answer == expected, name


def cheap(result: Result) -> None:
    """A million denied calls are answered by the kernel alone: no log, no listener. Each ended
    in an answer, and none of them in a record that somebody reads."""
    assert answers(result)["nanoseconds a call"] > 0
    assert (result["syscalls"]["seen"], result["syscalls"]["others"]) == ([], 0)


SYSCALLS = [
    Case("all-syscalls", "prober", "table", OK, all_denied),
    Case("million-denied", "prober", "many 1000000", OK, cheap, limits={"timeout": "60s"}),
    *(
        Case(
            f"trip-{name.replace(' ', '-').replace('_', '-')}", "prober", f"trip {name}",
            SYSCALL_KILLED, breached("seccomp"),
        )
        for name in (*TRIPWIRES, *FOREIGN)
    ),
]  # fmt: skip

CASES = [*RESOURCES, *STREAMS, *ARTIFACTS, *NETWORK, *ESCAPE, *SYSCALLS]
