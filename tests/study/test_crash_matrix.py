"""Every rule, killed at every point: the next run ends with what an uninterrupted one makes.  make test-crash

Too long for `make test`, which leaves it out. Each rule of the miniature study runs again and again in one folder,
killed each time at the next point, then starved of disk, then to its end. What comes out is held against the folder of
a run that nothing disturbed. Points, in this order:

    begun     the process group is killed when the step opens its log
    torn      ... when it names its first file, half of which is lost
    between   ... when it has named its first file, before the next; and the folder .snakemake is lost
    full      the disk is full when it begins its last file; then there is room again
    whole     the group is killed when it has named its last file; and .snakemake is lost, so nothing may be left to do

A step with one file has no `between`. Training names its checkpoints first: there `torn` is a torn newest checkpoint.
Left out are `write_prompts`, which takes a model that follows instructions, and `time_other_draft` and
`score_other_draft`, which are `time_arms` and `score` with other inputs.
"""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubledraft.workflow import locks
from tests.helpers import domain_study, miniature
from tests.helpers.faults import Run, differences, ended, fill, half_written, run, small_disk

pytestmark = pytest.mark.crash
CELL, DRAFTS = f"results/{miniature.CELL}", f"results/drafts/{miniature.CELL}"
TARGETS = {  # rule: what is asked for, in the order of the study
    "record_study": "results/study.json",
    "fetch_questions": "data/questions/apples/train.jsonl",
    "fetch_more_questions": "data/questions/apples/distill.jsonl",
    "fetch_model": "data/models/tiny",
    "prune_model": "data/models/tiny-1l",
    "check_pair": "results/pair.json",
    "estimate_traces": "data/cod/apples/estimate.json",
    "write_cot": "data/cot/apples/traces.jsonl",
    "summarize_cod": "data/cod/apples/traces.jsonl",
    "audit_traces": "data/cod/apples/audit.json",
    "analyze_traces": "results/analysis/analysis.md",
    "train_target": f"{CELL}/target_adapter",
    "draw_loss": f"{CELL}/target_loss.png",
    "merge_target": f"{CELL}/distill_merged",
    "distill": f"{CELL}/distilled.jsonl",
    "prune_start": f"{CELL}/draft_start",
    "train_draft": f"{CELL}/draft_adapter",
    "merge_draft": f"{CELL}/draft_merged",
    "time_arms": f"{CELL}/timing.json",
    "audit_draft": f"{CELL}/draft_audit.json",
    "score": f"{CELL}/metrics.json",
    "view_cell": f"{CELL}/viewer.html",
    "cross_check": f"{CELL}/cross_check.json",
    "load_grid": f"{CELL}/load_grid.json",
    "served_load": f"{CELL}/served_load.json",
    "cross_acceptance": f"{CELL}/acceptance_row.json",
    "acceptance_matrix": "results/analysis/acceptance_matrix.csv",
    "generate_untrained": "results/untrained_apples/cod.jsonl",
    "score_untrained": "results/untrained_apples/metrics.json",
    "report": "results/report/report.html",
    "merge_compared_target": f"{DRAFTS}/target",
    "prune_compared_start": f"{DRAFTS}/start",
    "train_recipe": f"{DRAFTS}/plain/0/adapter",
    "measure_recipe": f"{DRAFTS}/plain/0/measured.jsonl",
    "compare_drafts": f"{DRAFTS}/leaderboard.html",
    "split_domain": "data/domains/chat/train.jsonl",
    "answer_domain": "results/domains/chat/answers.jsonl",
    "train_domain_draft": "results/domains/generic/draft_adapter",
    "merge_domain_draft": "results/domains/generic/best",
    "collect_matrix": "results/routing/matrix.csv",
    "train_routers": "results/routing/router",
    "score_routers": "results/routing/score.json",
    "routing_page": "results/routing/report.html",
    "train_domain_adapter": "results/domains/chat/rank4/adapter",
    "compare_adapters": "results/routing/adapters.json",
    "adapters_page": "results/routing/adapters.html",
}
# rules whose files depend on measured times: they are whole, but not the same bytes
FROM_TIMES = {"train_recipe", "load_grid", "served_load", "collect_matrix", "compare_adapters"}
POINTS = ("begun", "torn", "between", "full", "whole", "end")
ON_DEMAND = {  # sections of the config that are left at a few seconds of work
    "drafts": {"recipes": {"plain": {}}, "minutes": 0.02, "seeds": 1, "timed": False},
    "load_grid": {"lengths": [1, 2], "loads": [1], "blocks": 2},
    "served_load": {"rates": [4], "concurrency": 2},
    "benchmark": {"warmup": 1, "max_model_len": 256, "retimes": 0, "draft_vocabulary": None},  # which vLLM serves
}
DISK = 64  # megabytes, for a study of a few


class Study:
    """The miniature study, made as far as it is asked for without a disturbance, and what every job of it wrote."""

    def __init__(self, folder: Path) -> None:
        config = domain_study.build(folder / "inputs", **ON_DEMAND)
        miniature.build_taught_model(folder / "inputs/model")
        self.options = ("--configfile", str(config), "--notemp", "--")
        self.folder, self._record = folder / "study", folder / "record"
        self.folder.mkdir()

    def job(self, target: str) -> tuple[str, list[str]]:
        """Return the log of the job that makes a target, and the files that it names, in order.

        The last one is what to ask for: whoever asks for one before it gets it, whole, though the last may be missing.
        """
        made = run(self.folder, *self.options, target, FAULT_RECORD=str(self._record))
        assert made.code == 0, made.text[-6000:]
        jobs: dict[str, list[str]] = {}
        for line in self._record.read_text().splitlines():
            log, file = line.split(" ", 1)
            jobs.setdefault(log, []).append(file)
        return next((log, list(dict.fromkeys(files))) for log, files in jobs.items() if target in files)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    """Return the undisturbed study, of which nothing is made yet."""
    return Study(tmp_path_factory.mktemp("matrix"))


@pytest.fixture
def place(study, tmp_path) -> Path:
    """Name a folder beside the study: from elsewhere its inputs would have other paths, and be read anew."""
    return study.folder.with_name(tmp_path.name)


@pytest.fixture
def disk(place) -> Iterator[Path]:
    """Return a small disk of its own."""
    try:
        with small_disk(place, DISK) as folder:
            yield folder
    except PermissionError as error:
        pytest.skip(f"needs a small disk of its own: {error}")


@pytest.mark.parametrize("rule", TARGETS)
def test_killed_at_every_point_the_step_ends_as_if_nothing_had_happened(rule, study, disk, crash_table):
    log, files = study.job(TARGETS[rule])
    target = files[-1]
    folder = _without(files, study, disk)
    row = crash_table[rule] = dict.fromkeys(POINTS, "")

    def killed(point: str, moment: str, path: str) -> None:
        row[point] = "FAILED"
        Run(folder, *study.options, target, fault=f"{moment} {path}").kill()
        assert moment != "torn" or not (folder / path).exists(), f"half of {path} stands where a reader takes it"
        row[point] = "taken up"

    killed("begun", "open", log)
    killed("torn", "torn", files[0])
    if len(files) > 1:
        killed("between", "done", files[0])
        shutil.rmtree(folder / ".snakemake")
    row["full"] = "FAILED"
    _starve(folder, study, target, files[-1])
    row["full"] = "named, taken up"
    killed("whole", "done", files[-1])
    shutil.rmtree(folder / ".snakemake")
    row["end"] = "FAILED"
    last = run(folder, *study.options, target)
    assert last.code == 0 and "Nothing to be done" in last.text, last.text[-3000:]
    expected = tuple(files) if rule in FROM_TIMES else ()
    assert [path for path in differences(folder, study.folder) if not path.startswith(expected)] == []
    assert half_written(folder) == []
    row["end"] = "whole" if rule in FROM_TIMES else "same bytes"


def test_full_disk_at_a_checkpoint_costs_the_steps_since_the_one_before(study, disk):
    target = TARGETS["train_target"]
    log, files = study.job(target)
    folder = _without(files, study, disk)
    checkpoints = [str(Path(file).parent) for file in files if file.endswith("sealed.json")]
    _starve(folder, study, target, checkpoints[1], at=str(Path(checkpoints[1]).parent))
    assert run(folder, *study.options, target).code == 0
    assert f"continuing from {checkpoints[0]}" in (folder / log).read_text()
    assert differences(folder, study.folder) == []


def test_engine_that_outlives_its_run_is_waited_for(study, place):
    target = TARGETS["time_arms"]
    log, files = study.job(target)
    folder = _without(files, study, place)
    first = Run(folder, *study.options, target, fault=f"open {files[0]}")
    engine = first.held()
    first.kill_scheduler()
    refused = run(folder, *study.options, target)
    assert refused.code != 0 and str(locks.of_job(log)) in refused.text and "still at work" in refused.text
    first.release()
    ended(engine)
    while locks.holder(folder / locks.of_job(log)):  # the step that started the engine ends after it
        time.sleep(0.1)
    last = run(folder, *study.options, target)
    assert last.code == 0 and differences(folder, study.folder) == [], last.text[-3000:]


def test_failed_cell_stops_no_other_and_the_report_says_why_it_is_missing(study, place):
    _, files = study.job(TARGETS["score_untrained"])
    folder = _without(files, study, place)
    options = (*study.options[:-1], "--config", "types={cot: {max_tokens: 1}}", "--keep-going", "--")
    made = run(folder, *options, "results/cot_apples/metrics.json", TARGETS["score_untrained"])
    assert made.code != 0 and (folder / TARGETS["score_untrained"]).exists()
    assert "--allowed-rules report -- results/report/report.html" in made.text, "what to do is said at the end"
    reported = run(folder, *options[:-1], "--allowed-rules", "report", "--", TARGETS["report"])
    assert reported.code == 0, reported.text[-3000:]
    page = (folder / "results/report/report.md").read_text()
    log = r"results/cot_apples/logs/distill\.log"
    reason = rf"distill failed: DistillError: .*0 of 16 answers are finished.*; read {log}"
    assert re.search(rf"\*\*cot_apples\*\*: {reason}", page), page


def _without(files: list[str], study: Study, place: Path) -> Path:
    """Copy the undisturbed study to a place, but for the files of one job; give the copy."""
    folder = shutil.copytree(study.folder, place, symlinks=True, dirs_exist_ok=True)
    for path in files:
        if (folder / path).is_dir():
            shutil.rmtree(folder / path)
        else:
            (folder / path).unlink(missing_ok=True)
    return folder


def _starve(folder: Path, study: Study, target: str, path: str, *, at: str | None = None) -> None:
    """Let a run find a full disk when it begins to write `path`, which it should name by `at`; then make room."""
    starved = Run(folder, *study.options, target, fault=f"open {path}")
    starved.held()
    left = (folder / path).with_name(f".{Path(path).name}.partial")
    left.unlink(missing_ok=True)  # by a killed writer; to write over it would free room for a small file
    ballast = fill(folder)
    starved.release()
    outcome = starved.end()
    ballast.unlink()
    assert outcome.code != 0, "a full disk is no success"
    assert re.search(rf"{re.escape(at or path)} could not be written: \d+ bytes are free", outcome.text), outcome.text
    assert at or not (folder / path).exists()
    assert half_written(folder) == []
