"""Registrations beside each other: what one waits for, and what it tells of the others."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fumehood.catalog.pins import signed_digests
from fumehood.catalog.store import ToolFile
from fumehood.crypto.signing import SigningKey
from fumehood.crypto.trust import Subject, sign
from fumehood.errors import CatalogError, Unauthorized, UnknownTool
from fumehood.model.request import Caller, RegisteredTool
from fumehood.supervisor.registration import Registration
from support.catalog import Filled, Stuck, catalog_in
from support.house import ANN, MALLORY, OPERATOR, House
from support.manifests import document

FILES = {"main.py": ToolFile(b"print()", executable=False)}
OLD = {"main.py": ToolFile(b"pass", executable=False)}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Filled]:
    made = catalog_in(tmp_path, (200_000, 80), own_uid=0)
    yield made
    made.close()


async def add(
    house: House, who: Caller, files: dict[str, ToolFile] | None = None, **changes: object
) -> RegisteredTool:
    files = FILES if files is None else files
    text = json.dumps(document(run__command=["cat"], **changes))
    return await house.registration.add(who, text, files)


def test_a_disk_that_is_stuck_holds_up_whoever_stores_and_nobody_else(
    catalog: Filled, tmp_path: Path
) -> None:
    """Neither another caller's registration, nor approvals, nor what calls ask of the catalog."""

    async def test() -> None:
        house = House(catalog)
        disk = Stuck(tmp_path / "store")
        await add(house, ANN, name="waiting")
        free, catalog._shelves._sealer = catalog._shelves._sealer, disk
        stuck = asyncio.create_task(add(house, MALLORY, name="mine"))
        assert await asyncio.to_thread(disk.asked.wait, 30)
        catalog._shelves._sealer = free
        assert (await add(house, OPERATOR, name="other")).state == "active"
        approved = await house.registration.approve(OPERATOR, "waiting", "1.0.0")
        assert approved.state == "active"
        await house.registration.remove(OPERATOR, "other")
        assert catalog.recheck(approved) is None
        assert not stuck.done()
        disk.answer.set()
        assert (await stuck).state == "pending"

    asyncio.run(asyncio.wait_for(test(), 60))


def told(tool: RegisteredTool) -> tuple[object, ...]:
    return tool.state, tool.account, tool.notes, tool.added_by, tool.signer, tool.sealed


@pytest.mark.parametrize(
    "there",
    [
        "nothing",
        "the same",
        "other content",
        "quarantined",
        "pending of another",
        "look-alike",
        "removed",
    ],
)
def test_what_is_hidden_changes_nothing_of_what_a_submission_is_told_or_takes(
    catalog: Filled, there: str
) -> None:
    async def test() -> tuple[Any, ...]:
        house = House(catalog)
        other = {"main.py": ToolFile(b"other", executable=False)}
        if there == "pending of another":
            await add(house, ANN, other)
        elif there == "look-alike":
            await add(house, OPERATOR, name="w0rd-count")
        elif there != "nothing":
            files = other if there == "other content" else FILES
            await add(house, OPERATOR, files)
        if there in ("quarantined", "removed"):
            catalog.quarantine("word-count", None, "for a test")
        if there == "removed":
            await house.registration.remove(OPERATOR, "word-count")
        said = [told(await add(house, MALLORY)), told(await add(house, MALLORY))]
        for number in range(7):
            await add(house, MALLORY, name=f"free-{number}")
        with pytest.raises(CatalogError) as full:
            await add(house, MALLORY, name="one-more")
        return said, str(full.value), catalog._shelves.listed() != []

    found = asyncio.run(asyncio.wait_for(test(), 60))
    assert found == (
        [("pending", -1, ("added by uid:1000, who is no operator",), "uid:1000", "", "")] * 2,
        "8 tools of yours are pending (have an operator look at them first)",
        True,
    )


def test_how_full_the_store_is_is_not_for_who_is_no_operator(tmp_path: Path) -> None:
    catalog = catalog_in(tmp_path, (200_000, 8), own_uid=0, most_bytes=100_000)
    house = House(catalog)

    async def big(who: Caller, name: str) -> str:
        files = {"main.py": ToolFile(name.encode() * 9_000, executable=False)}
        with pytest.raises(CatalogError) as refused:
            await add(house, who, files, name=name)
        return str(refused.value)

    async def test() -> None:
        await add(house, OPERATOR, {"main.py": ToolFile(b"x" * 50_000, False)}, name="first")
        assert "storage.tools" in await big(OPERATOR, "operators")
        heard = await big(MALLORY, "mallorys")
        assert "no room" in heard
        assert not any(character.isdecimal() for character in heard)

    asyncio.run(asyncio.wait_for(test(), 60))
    catalog.close()


def test_an_approval_is_of_what_was_looked_at(catalog: Filled) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, MALLORY)
        shown = await house.showing.known(OPERATOR, "word-count", "1.0.0")
        await house.registration.remove(OPERATOR, "word-count", "1.0.0")
        await add(house, MALLORY, {"main.py": ToolFile(b"evil", executable=False)})
        approve = house.registration.approve
        with pytest.raises(CatalogError, match="not what was looked at"):
            await approve(OPERATOR, "word-count", "1.0.0", digest=shown.digest)
        again = await house.showing.known(OPERATOR, "word-count", "1.0.0")
        assert (await approve(OPERATOR, "word-count", "1.0.0", digest=again.digest)).state == (
            "active"
        )

    asyncio.run(asyncio.wait_for(test(), 60))


def test_who_may_call_a_tool_is_told_openly_that_its_version_is_taken(catalog: Filled) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR)
        assert (await add(house, ANN)).state == "active"
        with pytest.raises(CatalogError, match="registered with other content"):
            await add(house, ANN, {"main.py": ToolFile(b"other", executable=False)})
        assert [event for event, _ in house.book.records][-1] == "tool.add_refused"

    asyncio.run(asyncio.wait_for(test(), 60))


def test_who_may_call_one_version_learns_nothing_of_the_others(catalog: Filled) -> None:
    rules = [{"effect": "allow", "who": ["ann"], "versions": ["2.*"]}]

    async def test() -> None:
        house = House(catalog, rules=rules)
        await add(house, OPERATOR)
        await add(house, OPERATOR, version="2.0.0")
        other = {"main.py": ToolFile(b"other", executable=False)}
        said = {told(await add(house, ANN, other, version=one)) for one in ("1.0.0", "1.5.0")}
        assert len(said) == 1
        with pytest.raises(CatalogError, match="registered with other content"):
            await add(house, ANN, other, version="2.0.0")

    asyncio.run(asyncio.wait_for(test(), 60))


def signed(key: SigningKey, files: dict[str, ToolFile], **changes: object) -> dict[str, Any]:
    made = document(run__command=["cat"], **changes)
    subject = Subject(made["name"], made["version"], signed_digests(json.dumps(made), files))
    return sign(subject, key, signed="2026-11-26T12:00:00Z")


def test_a_tool_with_a_signature_of_an_unknown_key_is_one_that_is_not_signed(
    catalog: Filled,
) -> None:
    """Where none is required; and said so to whoever adds it, and on record."""
    key, known = SigningKey.generate(), SigningKey.generate()
    acme = {"acme": {"keys": [{"key": known.public.pem}]}}

    async def test() -> None:
        house = House(catalog, publishers=acme)
        text = json.dumps(document(run__command=["cat"]))
        register = house.registration.add
        tool = await register(OPERATOR, text, FILES, (), signed(key, FILES))
        note = f"its signature names the key {key.id}, of no publisher here: taken as not signed"
        assert (tool.state, tool.signer, tool.notes) == ("active", f":{key.id}", (note,))
        assert house.last[0] == "tool.added"
        assert (house.last[1]["signer"], house.last[1]["notes"]) == (f":{key.id}", (note,))
        assert house.admission.authorizer.roots.publisher_of(tool.signer) == ""
        other = {"main.py": ToolFile(b"evil", executable=False)}
        text = json.dumps(document(run__command=["cat"], name="mine"))
        for bad in (signed(key, other, name="mine"), signed(known, other, name="mine")):
            with pytest.raises(CatalogError, match="other content"):
                await register(OPERATOR, text, FILES, (), bad)
        mine = await register(MALLORY, text, FILES, (), signed(key, FILES, name="mine"))
        assert (mine.state, mine.signer, mine.notes[0]) == ("pending", f":{key.id}", note)
        # the publisher's own counts from then on, and is not taken away by another one
        text = json.dumps(document(run__command=["cat"]))
        for one in (known, key):
            tool = await register(OPERATOR, text, FILES, (), signed(one, FILES))
            assert tool.signer == f"acme:{known.id}"

    asyncio.run(asyncio.wait_for(test(), 60))


def test_where_a_signature_is_required_an_unknown_key_is_refused(catalog: Filled) -> None:
    key = SigningKey.generate()

    async def test() -> None:
        house = House(catalog, require_signature=True)
        text = json.dumps(document(run__command=["cat"]))
        for envelope, why in ((signed(key, FILES), "no key of a publisher"), (None, "not signed")):
            with pytest.raises(CatalogError, match=why):
                await house.registration.add(OPERATOR, text, FILES, (), envelope)
            assert house.last[0] == "tool.signature_refused"
        assert catalog.all() == []

    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("revoked", [False, True])
def test_where_a_signature_is_required_nothing_else_is_approved(
    catalog: Filled, *, revoked: bool
) -> None:
    """Neither what came in before it was required, nor what a key signed that is revoked since,
    nor an older version to go back to."""
    key = SigningKey.generate()
    acme = {"acme": {"keys": [{"key": key.public.pem}]}}
    envelope = signed(key, FILES) if revoked else None

    async def test() -> None:
        before = House(catalog, publishers=acme)
        register = before.registration.add
        text = json.dumps(document(run__command=["cat"]))
        submitted = json.dumps(document(run__command=["cat"], name="mine"))
        mine = signed(key, FILES, name="mine") if revoked else None
        await register(OPERATOR, text, FILES, (), envelope)
        newer = json.dumps(document(run__command=["cat"], version="1.1.0"))
        await register(OPERATOR, newer, FILES, ["changes"])
        await register(MALLORY, submitted, FILES, (), mine)
        changes = {"revoked_keys": [key.id]} if revoked else {}
        house = House(catalog, publishers=acme, require_signature=True, **changes)
        why = f"signed with the key {key.id}, of no publisher" if revoked else "is not signed"
        for name in ("word-count", "mine"):
            with pytest.raises(CatalogError, match=why):
                await house.registration.approve(OPERATOR, name, "1.0.0")
            event, fields = house.last
            assert (event, fields["tool"]) == ("tool.signature_refused", name)
        assert {(one.manifest.version, one.state) for one in catalog.all()} == {
            ("1.0.0", "superseded"), ("1.1.0", "active"), ("1.0.0", "pending"),
        }  # fmt: skip

    asyncio.run(asyncio.wait_for(test(), 60))


def test_what_a_publisher_signed_is_approved_where_a_signature_is_required(catalog: Filled) -> None:
    key = SigningKey.generate()
    acme = {"acme": {"keys": [{"key": key.public.pem}]}}

    async def test() -> None:
        house = House(catalog, publishers=acme, require_signature=True)
        text = json.dumps(document(run__command=["cat"]))
        await house.registration.add(MALLORY, text, FILES, (), signed(key, FILES))
        assert (await house.registration.approve(OPERATOR, "word-count", "1.0.0")).state == "active"

    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("new", [FILES, {"main.py": ToolFile(b"other", executable=False)}])
@pytest.mark.parametrize("accept", [(), ("changes",)])
def test_a_raised_version_does_not_wash_a_quarantine_off(
    catalog: Filled, new: dict[str, ToolFile], accept: tuple[str, ...]
) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR)
        catalog.quarantine("word-count", None, "for a test")
        text = json.dumps(document(run__command=["cat"], version="1.0.1"))
        tool = await house.registration.add(OPERATOR, text, new, accept)
        assert (tool.state, tool.notes) == ("pending", ("1.0.0 is quarantined",))
        approve = house.registration.approve
        with pytest.raises(CatalogError, match=r"1\.0\.0 is quarantined: for a test") as refused:
            await approve(OPERATOR, "word-count", "1.0.1")
        assert "approve 1.0.1 with --accept quarantined" in refused.value.remedy
        approved = await approve(OPERATOR, "word-count", "1.0.1", ["quarantined"])
        assert approved.state == "active"
        assert (await add(house, OPERATOR, OLD, version="1.0.2")).state == "active"

    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_files_of_a_quarantined_version_need_a_look_whatever_was_agreed_to_since(
    catalog: Filled,
) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR, OLD)
        await add(house, OPERATOR, version="1.1.0")
        catalog.quarantine("word-count", "1.1.0", "for a test")
        await house.registration.approve(OPERATOR, "word-count", "1.0.0")  # back to what was good
        tool = await add(house, OPERATOR, version="1.2.0")
        assert (tool.state, tool.notes) == ("pending", ("1.1.0 is quarantined",))
        assert (await add(house, OPERATOR, OLD, version="1.3.0")).state == "active"

    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("version", ["1.0.0", "1.0.1"])
@pytest.mark.parametrize("accept", [(), ("changes",), ("quarantined",)])
def test_a_removal_does_not_wash_a_quarantine_off(
    catalog: Filled, version: str, accept: tuple[str, ...]
) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR)
        catalog.quarantine("word-count", None, "for a test")
        await house.registration.remove(OPERATOR, "word-count")
        event, fields = house.last
        assert (event, fields["quarantine_kept"]) == ("tool.removed", ("1.0.0",))
        said = "1.0.0 was quarantined and removed: for a test"
        text = json.dumps(document(run__command=["cat"], version=version))
        tool = await house.registration.add(OPERATOR, text, FILES, accept)
        assert (tool.state, tool.notes) == ("pending", (said,))
        assert (house.last[0], house.last[1]["notes"]) == ("tool.pending", (said,))
        approve = house.registration.approve
        with pytest.raises(CatalogError, match="removed: for a test") as refused:
            await approve(OPERATOR, "word-count", version)
        assert f"fumehood tool diff word-count 1.0.0 {version}" in refused.value.remedy
        shown = (await house.showing.diff(OPERATOR, "word-count", None, version)).to_json()
        assert (shown["old"], shown["old_state"], shown["changes"]) == ("1.0.0", "removed", [])
        assert (await approve(OPERATOR, "word-count", version, ["quarantined"])).state == "active"
        assert house.last[1]["quarantine_ended"] == ("1.0.0",)
        assert await house.showing.removed(OPERATOR) == []
        assert (await add(house, OPERATOR, version="1.0.2")).state == "active"

    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("which", ["2.0.0", None])
def test_a_quarantined_version_is_compared_with_what_was_agreed_to_before_it(
    catalog: Filled, which: str | None
) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR, OLD)
        await add(house, OPERATOR, OLD, version="1.1.0")
        await add(house, OPERATOR, version="2.0.0")
        catalog.quarantine("word-count", which, "for a test")
        found = (await house.showing.diff(OPERATOR, "word-count", None, "2.0.0")).to_json()
        state = "superseded" if which else "quarantined"
        assert (found["old"], found["old_state"]) == ("1.1.0", state), "the newest before it"
        assert [(one["key"], one["new"]) for one in found["changes"]] == [("main.py", "changed")]
        back = (await house.showing.diff(OPERATOR, "word-count", None, "1.1.0")).to_json()
        assert (back["old"], back["old_state"]) == ("2.0.0", "quarantined")

    asyncio.run(asyncio.wait_for(test(), 60))


def spoil(state: Path) -> None:
    (file,) = state.rglob("main.py")
    mode = file.stat().st_mode
    file.chmod(0o644)
    file.write_text("print('another')")
    file.chmod(mode)


def test_a_quarantined_version_with_none_before_it_is_compared_with_what_was_registered(
    catalog: Filled, tmp_path: Path
) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR)
        await add(house, OPERATOR, version="2.0.0")
        await house.registration.remove(OPERATOR, "word-count", "1.0.0")
        catalog.quarantine("word-count", None, "for a test")
        found = (await house.showing.diff(OPERATOR, "word-count", None, "2.0.0")).to_json()
        assert (found["old"], found["old_state"], found["changes"]) == ("2.0.0", "quarantined", [])
        spoil(tmp_path)
        found = (await house.showing.diff(OPERATOR, "word-count", None, "2.0.0")).to_json()
        assert [(one["key"], one["new"]) for one in found["changes"]] == [("main.py", "changed")]

    asyncio.run(asyncio.wait_for(test(), 60))


def test_what_was_removed_while_quarantined_is_shown_to_operators_only(catalog: Filled) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR)
        catalog.quarantine("word-count", None, "for a test")
        await house.registration.remove(OPERATOR, "word-count")
        for version in (None, "1.0.0"):
            shown = await house.showing.known(OPERATOR, "word-count", version)
            assert (shown.state, shown.notes) == ("removed", ("for a test",))
            with pytest.raises(UnknownTool):
                await house.showing.known(ANN, "word-count", version)
            assert house.last[1]["exists"] is False
        with pytest.raises(Unauthorized):
            await house.showing.removed(ANN)
        files = await house.showing.files(OPERATOR, "word-count", "1.0.0")
        assert list(files.listing) == ["main.py"]
        await add(house, OPERATOR, OLD, version="2.0.0")
        await add(house, OPERATOR, version="2.1.0")
        found = (await house.showing.diff(OPERATOR, "word-count", "1.0.0", "2.0.0")).to_json()
        assert [change["key"] for change in found["changes"]] == ["main.py"], "by its number, too"

    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_files_of_a_quarantined_tool_under_another_name_are_told(catalog: Filled) -> None:
    """To operators; tools may share their files, and a quarantine is of a name."""

    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR)
        catalog.quarantine("word-count", None, "for a test")
        note = "has the files of word-count 1.0.0, which is quarantined"
        for name in ("first", "second"):
            tool = await add(house, OPERATOR, name=name)
            assert (tool.state, tool.notes) == ("active", (note,))
            if catalog.get("word-count"):
                catalog.remove("word-count")
        assert note not in (await add(house, MALLORY, name="mine")).notes
        assert note in catalog.submitted("mine", "1.0.0")[0].notes

    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("state", ["superseded", "pending"])
def test_a_quarantine_during_an_approval_holds(catalog: Filled, state: str) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR)
        if state == "superseded":
            await add(house, OPERATOR, version="1.1.0")
        else:
            await add(house, MALLORY, version="1.1.0")

        def check_image(_: object) -> None:  # after all that is looked at
            catalog.quarantine("word-count", None, "for a test")

        house.admission.check_image = check_image
        approve = house.registration.approve
        version = "1.0.0" if state == "superseded" else "1.1.0"
        with pytest.raises(CatalogError, match="quarantined"):
            await approve(OPERATOR, "word-count", version)
        assert {one.state for one in catalog.all()} <= {"quarantined", "pending"}
        assert (await approve(OPERATOR, "word-count", version, ["quarantined"])).state == "active"

    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_a_quarantine_during_a_registration_holds(
    catalog: Filled, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    async def test() -> None:
        house = House(catalog)
        await add(house, OPERATOR)

        def kept(registration: Registration, *of: Any) -> RegisteredTool:
            catalog.quarantine("word-count", None, "for a test")
            return kept_then(registration, *of)

        kept_then = Registration._kept
        with monkeypatch.context() as patched:
            patched.setattr(Registration, "_kept", kept)  # after it was looked at
            with pytest.raises(CatalogError, match=r"1\.0\.0 is quarantined"):
                await add(house, OPERATOR, version=version)
        assert [(one.state, one.notes) for one in catalog.all()] == [
            ("quarantined", ("for a test",))
        ]
        assert house.last[0] == "tool.add_refused"
        assert (await add(house, OPERATOR, version=version)).state != "active"

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_version_that_lost_its_publishers_signature_needs_a_look(catalog: Filled) -> None:
    known, key = SigningKey.generate(), SigningKey.generate()
    acme = {"acme": {"keys": [{"key": known.public.pem}]}}

    async def test() -> None:
        house = House(catalog, publishers=acme)

        async def register(version: str, by: SigningKey | None) -> RegisteredTool:
            text = json.dumps(document(run__command=["cat"], version=version))
            envelope = by and signed(by, FILES, version=version)
            return await house.registration.add(OPERATOR, text, FILES, (), envelope)

        assert (await register("1.0.0", known)).state == "active"
        assert (await register("1.1.0", known)).state == "active"
        for version, by in (("1.2.0", None), ("1.3.0", key)):
            tool = await register(version, by)
            assert tool.state == "pending"
            assert tool.notes[-1] == "not signed by acme any more against 1.1.0"

    asyncio.run(asyncio.wait_for(test(), 60))


def test_an_operator_who_adds_again_what_is_quarantined_and_unreadable_has_to_approve_it(
    catalog: Filled, tmp_path: Path
) -> None:
    async def test() -> None:
        assert (await add(House(catalog), OPERATOR, name="mine")).state == "active"
        catalog.quarantine("mine", None, "for a test")
        catalog.close()
        with sqlite3.connect(tmp_path / "catalog.sqlite3") as db:
            db.execute("UPDATE tools SET manifest = x'ff'")
        db.close()
        again = catalog_in(tmp_path, (200_000, 80), own_uid=0)
        house = House(again)
        assert (await add(house, OPERATOR, name="mine")).state == "pending"
        with pytest.raises(CatalogError, match="is quarantined"):
            await house.registration.approve(OPERATOR, "mine", "1.0.0")
        approved = await house.registration.approve(OPERATOR, "mine", "1.0.0", ["quarantined"])
        assert approved.state == "active"
        again.close()

    asyncio.run(test())
