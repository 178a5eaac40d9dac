"""Outcomes, plans and secrets to scan. Secrets are made here at run time: none is in the tree."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

from fumehood.errors import InvalidArguments
from fumehood.model.manifest import load_manifest
from fumehood.model.outcome import Artifact, Breach, Outcome, Proof, Status, Usage
from fumehood.model.plan import Limits, Plan
from fumehood.model.request import Admitted, Caller, RegisteredTool, Request

KEY = b"f" * 48
_random = random.Random(20261121)
ALNUM = string.ascii_letters + string.digits


def letters(count: int, alphabet: str = ALNUM) -> str:
    return "".join(_random.choice(alphabet) for _ in range(count))


def github_token() -> str:
    return "gh" + "p_" + letters(36)


def slack_token() -> str:
    digits = string.digits
    return "xo" + "xb-" + "-".join((letters(12, digits), letters(12, digits), letters(24)))


def aws_pair() -> tuple[str, str]:
    return "AK" + "IA" + letters(16, string.ascii_uppercase + "234567"), letters(40)


def private_key(lines: int = 20, kind: str = "RSA ") -> str:
    """The shape of a PEM key; the bytes in it are random."""
    body = base64.b64encode(_random.randbytes(48 * lines)).decode()
    rows = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    name = f"{kind}PRIVATE" + " KEY"
    return f"-----BEGIN {name}-----\n{rows}\n-----END {name}-----"


SECRETS: dict[str, Callable[[], str]] = {
    "github": github_token,
    "slack": slack_token,
    "private key": private_key,
    "openssh key": lambda: private_key(8, "OPENSSH "),
    "stripe": lambda: "sk" + "_live_" + letters(24),
    "gitlab": lambda: "gl" + "pat-" + letters(20),
    "google": lambda: "AI" + "za" + letters(35),
    "slack hook": lambda: (
        "https://hooks.slack" + ".com/services/T" + letters(8, ALNUM.upper()) + "/B"
        + letters(8, ALNUM.upper()) + "/" + letters(24)
    ),
}  # fmt: skip
"""Each makes a secret that a rule sees by itself, whatever stands beside it."""

LIMITS = Limits(10_000, 1000, 128 << 20, 32, 16 << 20, 4096, 1 << 20)

PROOFS = (Proof("no_new_privs", "1", "/proc/9/status"), Proof("capabilities", "none", "…"))


def outcome(
    stdout: bytes | str = b"",
    stderr: bytes | str = b"",
    status: Status = "ok",
    *,
    exit_code: int | None = 0,
    signal: int | None = None,
    breach: Breach | None = None,
    artifacts: tuple[Artifact, ...] = (),
    dropped: int = 0,
    error: str = "",
    proofs: tuple[Proof, ...] = PROOFS,
) -> Outcome:
    """dropped: bytes of stdout that were written beyond what is kept."""
    out = stdout.encode() if isinstance(stdout, str) else stdout
    err = stderr.encode() if isinstance(stderr, str) else stderr
    usage = Usage(0.5, 0.1, 1 << 20, 2, len(out) + dropped, len(err))
    return Outcome(
        status, exit_code, signal, breach, usage, out, err, dropped > 0, artifacts, proofs, error
    )


def plan() -> Plan:
    return Plan(
        "bubblewrap", "host", ("python3", "/tool/main.py"), (), (), 1_900_000_001, 1_900_000_001,
        "compute", "sha384:00", "none", LIMITS,
    )  # fmt: skip


def admitted(output_schema: str = "") -> Admitted:
    """A call of the tool `sample`; output_schema: as JSON."""
    schema = f"outputSchema: {output_schema}\n" if output_schema else ""
    manifest = load_manifest(
        "name: sample\nversion: 1.0.0\ndescription: A tool to scan.\n"
        f"inputSchema: {{type: object}}\n{schema}run: {{command: [cat]}}\n",
        source="sample",
    )
    caller = Caller(1000, 1000, 42, "someone")
    request = Request("01900000-0000-7000-8000-000000000000", "sample", {}, b"{}", caller, 0.0)
    tool = RegisteredTool(manifest, "sha384:11", None, 1_900_000_001, "active", "2026-01-01")
    return Admitted(request, tool)


def refuse_at(pointer: str) -> Callable[[object], None]:
    """A check of the outputSchema that refuses, and quotes the value as a validator would."""

    def check(value: object) -> None:
        raise InvalidArguments(f"{value!r} is not of type 'integer'", pointer=pointer)

    return check


def accept(_value: object) -> None:
    """A check of the outputSchema that everything passes."""
