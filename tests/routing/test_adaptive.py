"""The matrix is collected, a router learns from it, and chooses in Python: with real engines on tiny models."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from doubledraft.engine.decode import decode, speculative_decode
from doubledraft.engine.load import create_backend
from doubledraft.inference import resume
from doubledraft.inference.teacher_forcing import simulated_tokens_per_step
from doubledraft.inference.tokenizing import prompt_ids
from doubledraft.models.folder import ModelError
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation, Question, RecordError, write_records
from doubledraft.routing import matrix as matrices
from doubledraft.routing import train
from doubledraft.routing.adaptive import AdaptiveRouter, OnlineRouter
from doubledraft.routing.collect import collect, hidden_states, read_hidden
from doubledraft.routing.features import ngrams
from doubledraft.routing.hedge import Hedge, agreed
from doubledraft.routing.router import fit, load
from doubledraft.summaries import json_file
from doubledraft.summaries.router_file import RouterFile
from tests.helpers.running import ROOT

PROMPT = [5, 9, 40, 77, 30, 31]
MAX_TOKENS = 12


@pytest.fixture(scope="module")
def study(tiny_model, tiny_draft, repeating_model, tmp_path_factory) -> Path:
    """Return a folder with a target, three drafts, prompts of two domains and the matrix of them all."""
    folder = tmp_path_factory.mktemp("study")
    drafts = {"chat": tiny_draft, "code": repeating_model, "generic": tiny_model}
    for name, model in drafts.items():
        shutil.copytree(model, folder / f"results/domains/{name}/best")
    shutil.copytree(tiny_model, folder / "data/models/smollm2-135m")
    for domain in ("code", "chat"):
        for split in ("validation", "test"):
            write_records(folder / f"{domain}_{split}.jsonl", [_question(domain, split, at) for at in range(3)])
    gather(folder)
    train.train(
        matrix=folder / "matrix.csv",
        hidden=folder / "hidden.safetensors",
        prompts=asked(folder),
        target=folder / "data/models/smollm2-135m",
        routers={"knn": {"kind": "knn", "features": "hidden"}, "centroid": {"kind": "centroid", "features": "ngrams"}},
        embedding=None,
        seed=1,
        out=folder / "results/routing/router",
    )
    return folder


def _question(domain: str, split: str, at: int) -> Question:
    name = f"{domain}-{split}-{at}"
    text = f"{'def f' if domain == 'code' else 'Tell me'} {at} {split}"
    fields = {"scenario": domain, "split": split, "answer": "", "steps": [], "subject": name}
    return Question(id=name, question=text, **fields)


def asked(folder: Path) -> list[Path]:
    """Return the files of prompts that the matrix is collected on."""
    return [folder / f"{domain}_{split}.jsonl" for split in ("validation", "test") for domain in ("code", "chat")]


def gather(folder: Path, learnt: Sequence[Path] = ()) -> None:
    """Collect the matrix of a study's folder."""
    collect(
        target=folder / "data/models/smollm2-135m",
        drafts=[folder / f"results/domains/{name}/best" for name in ("code", "chat", "generic")],
        prompts=asked(folder),
        learnt=learnt,
        matrix=folder / "matrix.csv",
        hidden=folder / "hidden.safetensors",
        progress=folder / "progress/matrix.jsonl",
        max_tokens=MAX_TOKENS,
        draft_length=2,
        turns=2,
        dtype="float32",
        seed=1,
    )


@pytest.fixture(scope="module")
def models(study):
    """Return the target and the drafts by name."""
    load = {name: f"results/domains/{name}/best" for name in ("code", "chat", "generic")}
    drafts = {name: create_backend(study / path, "float32", "cpu") for name, path in load.items()}
    return create_backend(study / "data/models/smollm2-135m", "float32", "cpu"), drafts


def test_the_matrix_has_every_draft_on_every_prompt_and_the_good_draft_is_seen(study):
    matrix = matrices.read(study / "matrix.csv")
    assert matrix.drafts == ["code", "chat", "generic"] and matrix.seconds.shape == (12, 3, 2)
    assert (matrix.seconds > 0).all() and (matrix.scoring[matrix.splits == "test"] > 0).all()
    steps = dict(zip(matrix.drafts, matrix.steps.sum(0), strict=True))
    assert steps["generic"] < steps["code"], "a copy of the target is accepted more often than another model"
    assert len(read_hidden(study / "hidden.safetensors")) == 12
    assert not (study / "progress/matrix.jsonl").exists()


def test_a_collection_that_was_killed_goes_on_where_it_was(study, tmp_path, monkeypatch):
    folder = shutil.copytree(study, tmp_path / "study")
    kept, append = [], resume.append

    def dies(path, rows):
        if len(kept) == 3:
            raise KeyboardInterrupt
        kept.append(rows)
        append(path, rows)

    monkeypatch.setattr(resume, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        gather(folder)
    appended: list[Generation] = []
    monkeypatch.setattr(resume, "append", lambda path, rows: appended.extend(rows) or append(path, rows))
    gather(folder)
    again = {row.id for rows in kept for row in rows} & {row.id for row in appended}
    assert not again and len(appended) == (12 - 3) * 4 * 2


def test_a_kill_within_the_rows_of_a_prompt_leaves_none_twice(study, tmp_path, monkeypatch):
    folder, append = shutil.copytree(study, tmp_path / "study"), resume.append

    def torn(path, rows):
        append(path, rows)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-2]) + lines[-2][:40])
        raise KeyboardInterrupt

    monkeypatch.setattr(resume, "append", torn)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            gather(folder)
    monkeypatch.undo()
    gather(folder)
    assert len(matrices.read(folder / "matrix.csv").prompts) == 12


def test_a_prompt_that_one_domain_learns_and_another_is_scored_on_is_named(study, tmp_path):
    twin = replace(_question("code", "test", 1), id="chat-train-7", scenario="chat", split="train")
    write_records(tmp_path / "train.jsonl", [twin])
    with pytest.raises(ValueError, match=r"chat-train-7 and code-test-1 are the same prompt, 'def f 1 test'"):
        gather(study, [tmp_path / "train.jsonl"])


def test_the_answer_is_the_target_s_and_the_draft_the_one_with_the_best_score(study, models):
    target, drafts = models
    router = AdaptiveRouter.from_config(study / "results/routing/router", "knn")
    found = router.route_and_decode(target, drafts, PROMPT, MAX_TOKENS)
    assert found.token_ids == decode(target, [PROMPT], MAX_TOKENS)[0][0]
    scores = router.scores(PROMPT, hidden_states(target, [PROMPT])[0])
    assert found.scores == pytest.approx(scores, abs=1e-4)
    assert found.draft == max(scores, key=scores.get) and found.reason.startswith(
        f"knn (knn on hidden): {found.draft} "
    )
    assert 0 < found.router_seconds < found.metrics.seconds


def test_a_router_reads_of_a_prompt_what_it_learnt_from_whatever_the_template_writes_around_it(study):
    folder, tokenizer = study / "results/routing/router", load_tokenizer(study / "data/models/smollm2-135m")
    router, text = AdaptiveRouter.from_config(folder, "centroid"), "def f(x):\n    return <|x| + 1"
    [scores] = load(folder / "centroid").scores(ngrams(text)[None])
    system, message = {"role": "system", "content": "Solve."}, {"role": "user", "content": text}
    found = router.scores(prompt_ids(tokenizer, [message]), torch.zeros(1))
    assert list(found.values()) == pytest.approx(scores.tolist())
    instructed = router.scores(prompt_ids(tokenizer, [system, message]), torch.zeros(1))
    assert instructed != found and instructed.keys() == found.keys()


def test_routing_costs_no_pass_of_the_target_and_only_the_chosen_draft_reads_the_prompt(study, models, monkeypatch):
    target, drafts = models
    passes = []
    for name, model in {"target": target, **drafts}.items():
        forward = model.forward
        monkeypatch.setattr(
            model, "forward", lambda *given, name=name, forward=forward: passes.append(name) or forward(*given)
        )
    router = AdaptiveRouter.from_config(study / "results/routing/router", "knn")
    found = router.route_and_decode(target, drafts, PROMPT, MAX_TOKENS)
    assert passes.count("target") == 1 + len(found.metrics.times)
    assert set(passes) == {"target", found.draft} | (set(passes) & {"target"})


def test_a_draft_that_is_missing_is_named(study, models):
    target, drafts = models
    router = AdaptiveRouter.from_config(study / "results/routing/router")
    with pytest.raises(ModelError, match="expected a draft 'chat' too"):
        router.route_and_decode(target, {"code": drafts["code"], "generic": drafts["generic"]}, PROMPT, MAX_TOKENS)


@pytest.mark.parametrize(
    ("path", "name", "message"),
    [
        ("config/router_train.yaml", None, "expected the folder of a study's routers, with routers.json in it"),
        ("results/routing/router/knn", None, "expected the folder of a study's routers"),
        ("results/routing/router", "forest", "no router 'forest': expected knn or centroid"),
    ],
)
def test_what_is_no_folder_of_routers_is_refused_in_a_line(path, name, message, study):
    with pytest.raises(RecordError, match=message):
        AdaptiveRouter.from_config(study / path, name)


def test_a_router_of_another_target_or_whose_target_is_gone_is_named(study, models, tmp_path):
    target, drafts = models
    folder = shutil.copytree(study / "results/routing/router", tmp_path / "router")
    config = json_file.read(folder / "knn/router.json", RouterFile)
    fit(config, torch.ones(4, 32).numpy(), torch.ones(4, 3).numpy()).save(folder / "knn")
    with pytest.raises(ModelError, match="knn takes 32 features of a prompt, found 64: it was trained for another"):
        AdaptiveRouter.from_config(folder, "knn").route_and_decode(target, drafts, PROMPT, MAX_TOKENS)
    (folder / "routers.json").write_text((folder / "routers.json").read_text().replace("smollm2", "gone"))
    with pytest.raises(ModelError, match=r"routers\.json: a model that the router reads prompts with is gone: .*gone-"):
        AdaptiveRouter.from_config(folder, "centroid")


def test_agreement_on_the_emitted_text_gives_the_tokens_per_step_of_real_decoding(models):
    target, drafts = models
    for draft in drafts.values():
        [answer], metrics = speculative_decode(target, draft, [PROMPT], MAX_TOKENS, draft_length=3)
        simulated = simulated_tokens_per_step(agreed(draft, PROMPT, answer), 3)
        assert simulated == pytest.approx(metrics.tokens_per_step)


def test_hedge_finds_the_draft_that_gains_most():
    hedge = Hedge(3)
    assert hedge.probabilities().tolist() == pytest.approx([1 / 3] * 3)
    for _ in range(40):
        hedge.learn([0.3, 0.9, 0.4])
    assert hedge.probabilities()[1] > 0.95


def test_a_router_that_learns_online_comes_to_prefer_the_draft_that_is_accepted(models):
    target, drafts = models
    router = OnlineRouter(list(drafts), seed=2)
    for length in range(3, 23):
        found = router.route_and_decode(target, drafts, [7, 8, 9, length], MAX_TOKENS, draft_length=3)
        assert found.token_ids == decode(target, [[7, 8, 9, length]], MAX_TOKENS)[0][0]
    shares = router.scores([7], torch.zeros(1))
    assert max(shares, key=shares.get) == "generic", "the copy of the target"
    assert sum(shares.values()) == pytest.approx(1)


def test_the_lines_of_the_page_run_as_they_stand(study, monkeypatch, capsys):
    page = (ROOT / "docs/python.md").read_text()
    [lines] = [text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "AdaptiveRouter" in text]
    assert len([line for line in lines.splitlines() if line.strip()]) == 8
    monkeypatch.chdir(study)
    exec(compile(lines, "docs/python.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"^(code|chat|generic) \w+ \(\w+ on \w+\): .*[\d.]+$", printed, re.MULTILINE | re.DOTALL)
