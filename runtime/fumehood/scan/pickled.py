"""Python pickles that call something when they are loaded. Must never load one."""

from __future__ import annotations

import pickletools
import re
from typing import Final

from fumehood.scan.detector import Match, Severity

_MAX_OPCODES: Final = 50_000
_BEGIN: Final = re.compile(rb"\x80[\x02-\x05]|\(?c[A-Za-z_][\w.]{0,60}\n[A-Za-z_][\w.]{0,60}\n")
_CALLS: Final = frozenset(("REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"))

# What data are made of: arrays and tables of the usual libraries, and Python's own values.
_DATA: Final = re.compile(
    r"(?:numpy|pandas|scipy|sklearn|torch|pyarrow|xgboost|lightgbm|collections|datetime|decimal|"
    r"fractions|uuid|zoneinfo|pathlib|array|_codecs|copyreg|copy_reg|enum|ipaddress|_pickle)(?:\.|\Z)"
)
_VALUES: Final = frozenset(
    ("set", "frozenset", "complex", "bytearray", "bytes", "object", "list", "dict", "tuple",
     "int", "float", "str", "bool", "slice", "range", "Exception", "ValueError", "KeyError",
     "TypeError", "RuntimeError", "OSError")
)  # fmt: skip
_BUILTINS: Final = frozenset(("builtins", "__builtin__"))
_REACHES: Final = frozenset(
    ("os", "posix", "nt", "subprocess", "commands", "sys", "pty", "socket", "shutil", "ctypes",
     "code", "codeop", "importlib", "imp", "runpy", "webbrowser", "asyncio", "multiprocessing",
     "pickle", "_pickle", "marshal", "types", "functools", "operator", "pip", "timeit", "pdb",
     "bdb", "cProfile", "profile", "builtins", "__builtin__", "threading", "tempfile", "http",
     "urllib", "requests", "platform", "signal", "inspect")
)  # fmt: skip


def find(data: bytes) -> Match | None:
    """One that calls something other than what data are made of."""
    if _BEGIN.match(data) is None:
        return None
    strings: list[str] = []
    memo: list[str] = []
    calls = False
    severity: Severity | None = None
    try:
        for number, (opcode, value, _) in enumerate(pickletools.genops(data)):
            if number > _MAX_OPCODES:
                break
            name = ""
            if opcode.name in ("GLOBAL", "INST"):
                name = str(value)
            elif opcode.name == "STACK_GLOBAL":
                name = " ".join(strings[-2:])
            elif isinstance(value, str):
                strings = [*strings[-1:], value]
            elif opcode.name == "MEMOIZE":
                memo.append(strings[-1] if strings else "")
            elif opcode.name in ("BINGET", "LONG_BINGET") and int(value or 0) < len(memo):
                strings = [*strings[-1:], memo[int(value or 0)]]
            calls |= opcode.name in _CALLS
            if name and not _is_data(name):
                top = name.split(" ", 1)[0].split(".", 1)[0]
                severity = "high" if top in _REACHES or severity == "high" else "medium"
    except (ValueError, IndexError, KeyError, UnicodeError, OverflowError):
        pass  # what comes before the fault is run all the same
    if severity is None or not calls:
        return None
    return Match("pickle-code", "payload", severity, 0, min(len(data), 16))


def _is_data(name: str) -> bool:
    module, _, attribute = name.partition(" ")
    if module in _BUILTINS:
        return attribute in _VALUES
    return _DATA.match(module) is not None and attribute not in ("system", "runstring", "eval")
