"""The image's recipe: no key, nothing made here and no root goes into it, and ports are this machine's alone."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


def test_what_is_copied_is_there_and_what_git_ignores_is_left_out():
    copied = re.findall(r"^COPY --chown=study (.*) \S+$", DOCKERFILE, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
    left_out = (ROOT / ".dockerignore").read_text().split()
    for name in (".env", ".venv", ".git/config", "data/*", "results"):
        assert name in left_out, f"{name} would be copied into the image"


def test_all_that_is_set_up_and_run_belongs_to_a_user_without_rights():
    before, _, after = DOCKERFILE.partition("\nUSER study\n")
    assert after and "USER" not in after.replace("USER study", "")
    assert "install.sh" in after and "install.sh" not in before


def test_an_image_is_named_after_the_build_that_is_in_it():
    for name, service in SERVICES.items():
        assert service["image"] == f"doubledraft:{service['build']['args']['BUILD']}", name


def test_services_drop_rights_and_open_no_port_to_the_network():
    assert set(SERVICES) == {"study", "demo", "teacher"}
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        volumes = {volume.partition(":")[2] for volume in service["volumes"]}
        assert volumes == {"/doubledraft/data", "/doubledraft/results", "/home/study/.cache"}
