"""A proof that nobody ran is no proof: what happens where a service is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import services


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(services.CLASSPATH_VARIABLE, raising=False)
    monkeypatch.setattr(services, "JAR_FOLDERS", (Path("/nonexistent"),))
    monkeypatch.setattr(services, "POSTGRESQL_FOLDER", Path("/nonexistent"))


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("service", ["zookeeper", "redis", "postgresql"])
def test_a_missing_service_skips_locally_and_names_the_command(
    service: services.ServiceName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="make services"):
        services.require(service)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("service", ["zookeeper", "redis", "postgresql"])
def test_a_missing_service_fails_in_ci(service: services.ServiceName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="nothing is skipped"):
        services.require(service)


@pytest.mark.usefixtures("nothing_installed")
def test_what_is_missing_is_named() -> None:
    assert services.missing_parts("redis") == ("redis-server",)
    assert "java" in services.missing_parts("zookeeper")[0]
