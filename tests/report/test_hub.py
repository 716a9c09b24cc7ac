"""What is pushed is a plain adapter and its card, private, and never the token.

The hub's own client talks to a server on loopback (tests/helpers/hub_server.py).
"""

import json
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from doubledraft.models.folder import ModelError
from doubledraft.report import card, hub
from doubledraft.report.hub import HubError
from tests.helpers import made_up
from tests.helpers.commands import run
from tests.helpers.hub_server import Shelf, hub_environment, serve

ROOT = Path(__file__).parents[2]
TOKEN = "hf_SentinelSentinel7f3a91c2"
COMMIT = "c" * 40


@pytest.fixture
def adapter(tmp_path) -> Path:
    """Return the folder of an adapter, its card beside it."""
    folder = made_up.measured_draft(tmp_path / "results")
    card.write(folder, folder.with_name("metrics.json"), folder.with_name("draft_adapter.md"))
    return folder


@pytest.fixture
def push(adapter, capsys, monkeypatch) -> Callable:
    """Return a function that runs the subcommand here, and returns its exit status and both its outputs."""

    def run_here(address: str, *options: str, token: str | None = TOKEN) -> tuple[int, str, str]:
        read_at_import = {"ENDPOINT": address, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}
        for name, value in read_at_import.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.chdir(adapter.parent)
        for name, value in hub_environment(address, adapter.parent / "home").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN", raising=False)
        return run(capsys, "push", adapter, "--repo", "me/draft", *options)

    return run_here


def test_adapter_and_card_arrive_in_a_private_repository_and_the_token_stays(adapter):
    """In a process of its own, which has nothing but its environment to find the hub by."""
    shelf = Shelf(TOKEN)
    command = [sys.executable, "-m", "doubledraft", "push", str(adapter), "--repo", "me/draft"]
    with serve({}, COMMIT, shelf) as address:
        environment = hub_environment(address, adapter.parent / "home") | {"PYTHONPATH": str(ROOT), "HF_TOKEN": TOKEN}
        result = subprocess.run(
            command, env=environment, cwd=adapter.parent, capture_output=True, text=True, check=False
        )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(f"{address}/me/draft/commit/{COMMIT}\n")
    assert shelf.private == {"me/draft": True}
    files = shelf.files["me/draft"]
    assert set(files) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "training.json"}
    assert files["adapter_model.safetensors"] == (adapter / "adapter_model.safetensors").read_bytes()
    assert files["README.md"] == adapter.with_name("draft_adapter.md").read_bytes()
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "org/small"
    assert json.loads(files["training.json"])["settings"]["base"] == "org/small"
    for text in (result.stdout, result.stderr, *(content.decode("latin-1") for content in files.values())):
        assert TOKEN not in text


def test_a_dry_run_lists_files_and_sizes_and_needs_neither_token_nor_network(adapter, push):
    status, out, err = push("http://127.0.0.1:9", "--dry-run", token=None)
    assert status == 0, err
    first, *lines, last = out.splitlines()
    assert first == "me/draft (private)" and last == "Nothing was sent."
    listed = {name: int(size.replace(",", "")) for size, name in map(str.split, lines)}
    assert listed["adapter_model.safetensors"] == (adapter / "adapter_model.safetensors").stat().st_size
    assert listed.keys() == {"README.md", "adapter_config.json", "adapter_model.safetensors", "training.json"}


@pytest.mark.parametrize("name", ["", "draft", "me/my draft", "me/draft/x", "https://huggingface.co/me/draft"])
def test_a_name_that_no_repository_has_is_refused_also_by_a_dry_run(adapter, capsys, name):
    status, out, err = run(capsys, "push", adapter, f"--repo={name}", "--dry-run")
    assert (status, out) == (2, "") and "argument --repo: " in err


def test_without_a_token_nothing_is_sent_and_the_variable_is_named(push):
    shelf = Shelf(TOKEN)
    with serve({}, COMMIT, shelf) as address:
        status, _, err = push(address, token=None)
    assert status == 2 and "hub needs a key: set HF_TOKEN in the environment" in err
    assert not shelf.private


def test_a_token_that_the_hub_refuses_is_told_in_a_line_without_it(push):
    with serve({}, COMMIT, Shelf(TOKEN)) as address:
        status, out, err = push(address, token="hf_AnotherSentinel0000")
    assert status == 2 and "could not upload to me/draft" in err and "401" in err
    assert "hf_AnotherSentinel0000" not in out + err and "Traceback" not in err


def test_a_hub_that_says_nothing_is_not_waited_for_without_limit(push, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)  # seconds, in place of 10
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its tries
    with socket.create_server(("127.0.0.1", 0)) as silent:
        status, _, err = push(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert status == 2 and "could not upload to me/draft: " in err
    assert "timed out; push again, with HF_HUB_DOWNLOAD_TIMEOUT" in err


def test_a_repository_that_is_public_is_not_uploaded_to_unless_asked(push):
    shelf = Shelf(TOKEN, private={"me/draft": False}, files={"me/draft": {}})
    with serve({}, COMMIT, shelf) as address:
        status, _, err = push(address)
        assert status == 2 and "me/draft exists and is public: give --public" in err
        assert not shelf.files["me/draft"]
        assert push(address, "--public")[0] == 0
    assert "README.md" in shelf.files["me/draft"]


def test_a_second_push_replaces_what_is_there(push):
    shelf = Shelf(TOKEN, private={"me/draft": True}, files={"me/draft": {"README.md": b"old"}})
    with serve({}, COMMIT, shelf) as address:
        assert push(address)[0] == 0
    assert shelf.files["me/draft"]["README.md"].startswith(b"---\n")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("optimizer.pt", pickle.dumps(1), r"optimizer\.pt: pickled"),
        ("adapter_model.bin", b"x", r"adapter_model\.bin: pickled"),
        ("modeling.py", b"x", r"modeling\.py: only adapter_config\.json, .* are uploaded; move it out"),
        ("notes.txt", b"x", r"notes\.txt: only"),
        (".env", b"HF_TOKEN=x", r"\.env: only"),
        ("checkpoint-3/training.json", b"{}", r"checkpoint-3: only"),
    ],
)
def test_what_is_neither_weights_nor_json_nor_tokenizer_stops_the_upload_by_name(adapter, name, content, message):
    (adapter / name).parent.mkdir(exist_ok=True)
    (adapter / name).write_bytes(content)
    with pytest.raises((HubError, ModelError), match=message):
        hub.plan(adapter, adapter.with_name("draft_adapter.md"), None)


def test_a_link_to_a_file_elsewhere_is_not_followed(adapter, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (adapter / "training.json").unlink()
    (adapter / "training.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ModelError, match=r"training\.json: a link that leads out"):
        hub.plan(adapter, adapter.with_name("draft_adapter.md"), None)


def test_an_adapter_without_a_card_is_told_how_to_get_one(adapter):
    card_file = adapter.with_name("draft_adapter.md")
    card_file.write_bytes(b"\xff\xfe")
    for spoil in (lambda: None, card_file.unlink, card_file.mkdir):
        spoil()
        with pytest.raises(HubError, match=r"draft_adapter\.md: expected the adapter's card.*doubledraft card"):
            hub.plan(adapter, card_file, None)


def test_paths_of_this_machine_stay_here(adapter):
    for name, keys in (("adapter_config.json", ["base_model_name_or_path"]), ("training.json", ["settings", "base"])):
        value = json.loads((adapter / name).read_text())
        place = value if len(keys) == 1 else value[keys[0]]
        place[keys[-1]] = "/home/someone/models/small"
        (adapter / name).write_text(json.dumps(value))
    for upload in hub.plan(adapter, adapter.with_name("draft_adapter.md"), None):
        content = upload.content if isinstance(upload.content, bytes) else upload.content.read_bytes()
        assert b"/home/someone" not in content, upload.name


def test_a_file_with_the_token_in_it_is_not_uploaded(adapter, push):
    value = json.loads((adapter / "training.json").read_text())
    (adapter / "training.json").write_text(json.dumps(value | {"note": TOKEN}))
    shelf = Shelf(TOKEN)
    with serve({}, COMMIT, shelf) as address:
        status, _, err = push(address)
    assert status == 2 and "training.json: contains the hub's token" in err
    assert not shelf.private and TOKEN not in err
