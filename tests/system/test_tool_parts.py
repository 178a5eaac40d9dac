"""What a registered tool is made of: a CycloneDX document of a live daemon's tool, and our own
distributions against the lock file."""

from __future__ import annotations

import hashlib
import json

from support.cyclonedx import faults
from support.hood import hood

FILES = {"main.py": "print('x')", "lib/more.py": ""}


def test_the_bill_of_materials_of_a_tool_that_runs() -> None:
    with hood() as daemon:
        daemon.register(None, "made", command=["python3", "/tool/main.py"], files=FILES)
        printed = daemon.cli("sbom", "made", check=True).stdout
        document = json.loads(printed)
        assert faults(document) == []
        parts = {part["name"]: part for part in document["components"]}
        for path, text in FILES.items():
            (digest,) = parts[f"/tool/{path}"]["hashes"]
            assert digest == {
                "alg": "SHA-384", "content": hashlib.sha384(text.encode()).hexdigest(),
            }  # fmt: skip
        packages = [part for part in document["components"] if "components" in part]
        assert any(inner["name"] == "bash" for part in packages for inner in part["components"])
        assert document["compositions"][0]["aggregate"] == "incomplete", "the host is not ours"
        missing = daemon.cli("sbom", "no-such-tool")
        assert (missing.returncode != 0, missing.stdout) == (True, "")
