"""Adapters of one draft are compared with drafts of their own: real engines on tiny models, and the page."""

import json

import pytest

from doubledraft.models.merge import merge
from doubledraft.records import Question, write_records
from doubledraft.routing import adapters_page
from doubledraft.routing.compare_adapters import compare
from doubledraft.summaries import json_file
from doubledraft.summaries.adapter_score import AdapterScore
from tests.helpers.tiny_models import build_adapter

DOMAINS = ("chat", "code")


@pytest.fixture(scope="module")
def folder(tiny_model, tiny_draft, tmp_path_factory):
    """Return a folder with the comparison: each domain's own draft is its adapter, merged."""
    folder = tmp_path_factory.mktemp("adapters")
    chat = [[{"role": "user", "content": "How?"}]]
    merge(
        tiny_draft, build_adapter(tiny_draft, folder / "a", seed=9), folder / "generic", prompts=chat, dtype="bfloat16"
    )
    for seed, name in enumerate(DOMAINS, start=1):
        build_adapter(folder / "generic", folder / name, seed=seed)
        merge(folder / "generic", folder / name, folder / f"{name}_merged", prompts=chat, dtype="bfloat16")
        write_records(folder / f"{name}.jsonl", [_question(name, at) for at in range(4)])
    compare(
        target=tiny_model,
        drafts={name: folder / f"{name}_merged" for name in DOMAINS},
        generic=folder / "generic",
        adapters={4: {name: folder / name for name in DOMAINS}},
        prompts={name: folder / f"{name}.jsonl" for name in DOMAINS},
        progress=folder / "progress.jsonl",
        draft_length=2,
        turns=2,
        settings={"seed": 3},
        out=folder / "adapters.json",
        max_tokens=10,
        dtype="bfloat16",
    )
    return folder


def _question(domain: str, at: int) -> Question:
    fields = {"scenario": domain, "split": "test", "answer": "", "steps": [], "subject": f"{domain}-{at // 2}"}
    return Question(id=f"{domain}-{at}", question=f"Tell me {at}", **fields)


def test_an_adapter_drafts_as_its_merged_model_in_less_space(folder):
    facts = json_file.read(folder / "adapters.json", AdapterScore)
    rows = {(row.domain, row.draft): row for row in facts.domains}
    assert set(rows) == {
        (domain, draft) for domain in DOMAINS for draft in ("own draft", "generic draft", "adapter, rank 4")
    }
    for domain in DOMAINS:
        assert rows[domain, "adapter, rank 4"].against_own.value == 1
        assert rows[domain, "own draft"].against_own.value == 1 and rows[domain, "own draft"].tokens_per_step.n == 2
    own, _, adapter = facts.sizes
    assert adapter.file_bytes < own.file_bytes and own.switches == 0
    assert adapter.switches == 2 * 5 and 0 < adapter.switch_milliseconds <= adapter.slowest_switch
    assert not (folder / "progress.jsonl").exists()


def test_the_page_says_what_the_file_says(folder, tmp_path):
    adapters_page.write(folder / "adapters.json", tmp_path / "adapters.html")
    page = (tmp_path / "adapters.html").read_text()
    facts = json.loads((folder / "adapters.json").read_text())
    assert "Tokens per step with an adapter, rank 4" in page and page.count("<tr><th>chat</th>") == 3
    assert f"{facts['sizes'][2]['file_bytes'] / 1e6:.1f}\N{NO-BREAK SPACE}MB" in page
