"""A draft of a manifest, made from somebody else's description, and what could not be mapped.

Must never claim more than was said: a value that does not fit as it stands is left out and listed,
never mended in silence, and a key that no reader took is listed by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from fumehood.errors import ManifestError
from fumehood.model.document import Path, dotted, shown
from fumehood.model.faults import explain
from fumehood.model.manifest import Manifest, Run, ToolAnnotations
from fumehood.model.schema import check_schema

MAX_LEFT: Final = 1_000
"""So many things are listed; of more than that only the number is told."""
NO_PLACE: Final = "a manifest has no place for it"
NO_NETWORK: Final = "a tool has no network"
NO_HOST_FILES: Final = "a tool sees no folder of the host"
NO_SECRETS: Final = "a tool is given no secret; a manifest is no place for one"
SPEAKS_MCP: Final = (
    "it serves MCP for a session; a tool is started for each call, reads its arguments as JSON "
    "from stdin and writes its result to stdout"
)
_T = TypeVar("_T")
_SMALLEST: Final[dict[type[BaseModel], dict[str, Any]]] = {
    Manifest: {
        "name": "a",
        "version": "1.0.0",
        "description": "a",
        "inputSchema": {"type": "object"},
        "run": {"command": ["a"]},
    },
    Run: {"command": ["a"]},
    ToolAnnotations: {},
}
"""What a key is tried in, alone."""
_NAME: Final = re.compile(r"[^a-z0-9]+")
_TEMPLATE: Final = re.compile(r"\$?\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Left:
    """Something that was not mapped: where it stood, and why."""

    key: str
    why: str


@dataclass(slots=True)
class Draft:
    """manifest: as far as it is known, in the order in which a person reads it."""

    form: str
    manifest: dict[str, Any] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    more: int = 0

    def leave(self, path: Path, why: str) -> None:
        if len(self.left) < MAX_LEFT:
            self.left.append(Left(dotted(path), why))
        else:
            self.more += 1

    def set(self, key: str, value: object, path: Path) -> None:
        """A key of the manifest, if the manifest's own rules let it be so."""
        if (fault := _fault(Manifest, key, value)) is None:
            self.manifest[key] = value
        else:
            self.leave(path, fault)

    def set_run(self, key: str, value: object, path: Path) -> None:
        if (fault := _fault(Run, key, value)) is None:
            self.manifest.setdefault("run", {})[key] = value
        else:
            self.leave(path, fault)

    def name(self, text: str, path: Path) -> None:
        """A name in our alphabet, made from the last part of a namespaced one, and told so."""
        name = _NAME.sub("-", text.rpartition("/")[2].lower()).strip("-")[:64].strip("-")
        if not name:
            self.leave(path, f"{shown(text)} has nothing that a name is made of: [a-z0-9-]")
            return
        if name != text:
            self.leave(path, f"{shown(text)} became {name}: a name is of [a-z0-9-]")
        self.manifest["name"] = name

    def image(self, reference: str, path: Path) -> None:
        """The name under which `image import` keeps it; images come from the store alone."""
        plain = reference.partition("@")[0].rpartition("/")[2]
        name = plain.partition(":")[0]
        if name == "host":  # the manifest's word for the host's own root
            self.leave(path, f"{shown(reference)}: `host` is no image's name; import it as another")
            return
        self.set_run("image", name, path)
        if self.manifest.get("run", {}).get("image") == name:
            why = f"import it: `fumehood image import docker://{reference} --name {name}`"
            printable = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}", reference)
            self.leave(path, why if printable else "import it with `fumehood image import`")

    def variable(self, name: str, value: str, path: Path) -> None:
        """One variable of run.environment, if it may be set and is no template."""
        if _TEMPLATE.search(value):
            self.leave(path, f"{shown(value)} is filled in by its client")
        elif (fault := _fault(Run, "environment", {name: value})) is not None:
            self.leave(path, fault)
        else:
            self.manifest.setdefault("run", {}).setdefault("environment", {})[name] = value

    def schema(self, key: str, value: dict[str, Any], path: Path) -> None:
        """inputSchema or outputSchema, if it would be accepted."""
        try:
            check_schema(value, key)
        except ManifestError as error:
            self.leave(path, error.cause)
        else:
            self.set(key, value, path)

    def annotations(self, value: dict[str, Any], path: Path) -> None:
        for key, hint in value.items():
            fault = _fault(ToolAnnotations, key, hint)
            if fault is None:
                self.manifest.setdefault("annotations", {})[key] = hint
            else:
                self.leave((*path, key), fault)


def _fault(model: type[BaseModel], key: str, value: object) -> str | None:
    """Why a model would not take this value under this key, None when it would."""
    if key not in model.model_fields:
        return NO_PLACE
    try:
        model.model_validate({**_SMALLEST[model], key: value})
    except ValidationError as error:
        return explain(model, error).cause
    return None


@dataclass(slots=True)
class Part:
    """One mapping of the source, whose keys are taken; what nobody took is left, and listed."""

    value: dict[str, Any]
    path: Path
    draft: Draft
    taken: set[str] = field(default_factory=set)

    def text(self, key: str) -> str | None:
        return self._of(key, str, "a text")

    def flag(self, key: str) -> bool | None:
        return self._of(key, bool, "true or false")

    def items(self, key: str) -> list[Any]:
        return self._of(key, list, "a list") or []

    def mapping(self, key: str) -> dict[str, Any] | None:
        return self._of(key, dict, "a mapping")

    def texts(self, key: str) -> list[str]:
        found = self.items(key)
        for number, item in enumerate(found):
            if not isinstance(item, str):
                raise _wrong((*self.path, key, number), "a text", item)
        return found

    def part(self, key: str) -> Part | None:
        found = self.mapping(key)
        return None if found is None else Part(found, (*self.path, key), self.draft)

    def parts(self, key: str) -> Iterator[Part]:
        for number, item in enumerate(self.items(key)):
            path = (*self.path, key, number)
            if not isinstance(item, dict):
                raise _wrong(path, "a mapping", item)
            yield Part(item, path, self.draft)

    def leave(self, key: str, why: str) -> None:
        """List a key, if it is there."""
        if key in self.value:
            self.taken.add(key)
            self.draft.leave((*self.path, key), why)

    def skip(self, *keys: str) -> None:
        """Take what says nothing about a tool: the format's own version."""
        self.taken.update(keys)

    def rest(self, why: str = NO_PLACE) -> None:
        """List everything that was not taken."""
        for key in self.value:
            if key not in self.taken:
                self.draft.leave((*self.path, key), why)

    def _of(self, key: str, kind: type[_T], what: str) -> _T | None:
        self.taken.add(key)
        found = self.value.get(key)
        if found is None or isinstance(found, kind):
            return found
        raise _wrong((*self.path, key), what, found)


def _wrong(path: Path, what: str, value: object) -> ManifestError:
    field = dotted(path)
    return ManifestError(f"{field}: expected {what}, got {shown(value)}", field=field)
