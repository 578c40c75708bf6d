"""In containers it is the engine that starts again what ends, and looks whether it is well."""

import re
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
ONCE = {"init", "demo"}  # they do their work and end
RUNNING = sorted(set(COMPOSE["services"]) - ONCE)


def health_checked_images() -> set[str]:
    """Targets of the Dockerfile; each inherits the check of what it is made from, unless it has none of its own."""
    checks: dict[str, bool] = {}
    target = ""
    for line in (CHECKOUT / "services" / "Dockerfile").read_text().splitlines():
        if found := re.match(r"FROM (\S+) AS (\S+)", line):
            target = found[2]
            checks[target] = checks.get(found[1], False)
        elif line.startswith("HEALTHCHECK"):
            checks[target] = "NONE" not in line
    return {f"qkd-lab/{target}" for target, checked in checks.items() if checked}


@pytest.mark.parametrize("service", RUNNING)
def test_every_process_is_started_again_and_has_a_health_check(service):
    described = COMPOSE["services"][service]
    assert described["restart"] == "unless-stopped"
    assert "healthcheck" in described or described["image"] in health_checked_images()
