from __future__ import annotations

import pytest

from fumehood.scan.pipeline import Pipeline
from fumehood.scan.secrets import SecretsDetector
from support.scan import KEY


@pytest.fixture(scope="session")
def kingfisher() -> SecretsDetector:
    """With its rules loaded, once for all tests."""
    detector = SecretsDetector()
    detector.load()
    return detector


@pytest.fixture(scope="session")
def pipeline(kingfisher: SecretsDetector) -> Pipeline:
    return Pipeline(fingerprint_key=KEY, secrets=[kingfisher])
