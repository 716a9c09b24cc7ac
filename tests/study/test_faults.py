"""What machines do to a run, on the first steps of a study.

Every rule, and the steps that train and decode, are in tests/study/test_crash_matrix.py (`make test-crash`).
"""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from doubledraft.workflow import locks
from tests.helpers import miniature
from tests.helpers.faults import Run, differences, ended, fill, half_written, small_disk
from tests.helpers.running import ROOT, Outcome, snakemake

pytestmark = pytest.mark.slow
TRAIN, LAST = "data/questions/apples/train.jsonl", "data/questions/apples/manifest.json"


def run(folder: Path, *arguments: str) -> Outcome:
    """Run Snakemake in a folder to its end, undisturbed."""
    return snakemake("--directory", str(folder), "--cores", "1", *arguments, folder=ROOT)


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> tuple[str, ...]:
    """Return the arguments of every run here: the last file of the job that writes the miniature study's questions."""
    config = miniature.build(tmp_path_factory.mktemp("inputs"))
    return ("--configfile", str(config), "--", LAST)


@pytest.fixture(scope="module")
def uninterrupted(asked, tmp_path_factory) -> Path:
    """Return a folder whose run nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert run(folder, *asked).code == 0
    return folder


def test_run_killed_while_and_after_writing_is_taken_up_by_the_same_command(asked, uninterrupted, tmp_path):
    Run(tmp_path, *asked, fault=f"torn {TRAIN}").kill()
    assert not (tmp_path / TRAIN).exists() and half_written(tmp_path), "half a file stands under a hidden name only"

    second = Run(tmp_path, *asked, fault=f"done {TRAIN}")
    second.kill()
    assert re.search(r"last run here was killed \(process \d+ on .*\): .* made again", second.said())
    assert (tmp_path / TRAIN).exists() and not (tmp_path / LAST).exists(), "killed between two files of one step"

    shutil.rmtree(tmp_path / ".snakemake")
    third = Run(tmp_path, *asked, fault=f"done {LAST}")
    third.kill()
    assert "killed" in third.said()
    last = run(tmp_path, *asked)
    assert last.code == 0, last.text
    assert differences(tmp_path, uninterrupted) == [] and half_written(tmp_path) == []
    again = run(tmp_path, *asked)
    assert "Nothing to be done" in again.text and "was killed (" not in again.text


def test_inputs_from_the_future_stop_a_run_before_any_work(tmp_path):
    config = miniature.build(tmp_path / "inputs")
    ahead = time.time() + 7200
    for file in (tmp_path / "inputs").rglob("*.jsonl"):
        os.utime(file, (ahead, ahead))
    told = run(tmp_path / "study", "--configfile", str(config), "--", LAST)
    assert told.code != 0 and re.search(r"\.jsonl is dated 2\.0 h in the future", told.text), told.text
    assert not (tmp_path / "study" / TRAIN).exists()


def test_second_run_is_refused_with_the_process_of_the_first_and_cannot_unlock_it(asked, uninterrupted, tmp_path):
    first = Run(tmp_path, *asked, fault=f"torn {TRAIN}")
    first.held()
    named = f"another run is at work in {tmp_path}: process {first.process.pid} on"
    second, unlock = run(tmp_path, *asked), run(tmp_path, "--unlock", *asked)
    assert second.code != 0 and named in second.text
    assert unlock.code != 0 and f"not unlocked: {named}" in " ".join(unlock.text.split())
    shutil.rmtree(tmp_path / ".snakemake/locks")
    without = run(tmp_path, *asked)
    assert without.code != 0 and named in without.text, "the proof is our own lock, not Snakemake's file"
    looked = run(tmp_path, "-n", *asked)
    assert looked.code == 0 and named in looked.text, "a dry run disturbs nobody"
    first.kill()
    assert run(tmp_path, *asked).code == 0 and differences(tmp_path, uninterrupted) == []


def test_job_that_outlives_its_run_is_waited_for_and_its_result_made_again(asked, uninterrupted, tmp_path):
    first = Run(tmp_path, *asked, fault=f"open {TRAIN}")
    job = first.held()
    first.kill_scheduler()
    refused = run(tmp_path, *asked)
    assert refused.code != 0 and f"results/logs/.fetch_questions_apples.lock (process {job} on" in refused.text
    assert "still at work" in refused.text and (tmp_path / ".snakemake/locks").exists()
    shutil.rmtree(tmp_path / ".snakemake")
    refused = run(tmp_path, *asked)
    assert refused.code != 0 and f"(process {job} on" in refused.text, "also where Snakemake's folder is lost"
    first.release()
    ended(job)
    last = run(tmp_path, *asked)
    assert last.code == 0, last.text
    assert differences(tmp_path, uninterrupted) == []


def test_of_two_runs_that_start_at_once_one_works(asked, uninterrupted, tmp_path):
    both = [Run(tmp_path, *asked) for _ in range(2)]
    outcomes = [each.end() for each in both]
    assert 0 in [outcome.code for outcome in outcomes], outcomes
    for outcome in outcomes:  # the one that came too late, if they met: it is told by Snakemake, or by us
        assert outcome.code == 0 or re.search("another (run|process) is at work|cannot be locked", outcome.text)
    assert differences(tmp_path, uninterrupted) == [] and locks.holder(tmp_path / "results/.run.lock") is None


def test_full_disk_names_the_file_and_the_next_run_goes_on(asked, uninterrupted, tmp_path):
    try:
        # as deep as the other folder, since the manifest names the question files from where the run works
        with small_disk(tmp_path.with_name("disk"), megabytes=16) as disk:
            starved = Run(disk, *asked, fault=f"open {LAST}")
            starved.held()
            ballast = fill(disk)
            starved.release()
            outcome = starved.end()
            assert outcome.code != 0
            assert re.search(rf"{LAST} could not be written: \d+ bytes are free", outcome.text), outcome.text
            assert not (disk / LAST).exists() and half_written(disk) == []
            ballast.unlink()
            again = run(disk, *asked)
            assert again.code == 0, again.text
            assert differences(disk, uninterrupted) == []
    except PermissionError as error:
        pytest.skip(f"needs a small disk of its own: {error}")


def test_folder_that_cannot_be_written_is_named_before_anything_starts(asked, tmp_path):
    try:
        with small_disk(tmp_path / "disk", megabytes=16) as disk:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            outcome = run(disk, *asked)
    except PermissionError as error:
        pytest.skip(f"needs a small disk of its own: {error}")
    assert outcome.code != 0 and f"{disk} cannot be written" in outcome.text and "--directory" in outcome.text


def test_folder_of_another_study_stays_as_it_is(asked, uninterrupted, tmp_path):
    folder = shutil.copytree(uninterrupted, tmp_path / "copy")
    other = run(folder)
    said = " ".join(other.text.split())
    assert other.code != 0 and "'miniature' made what is here" in said and "'default'" in said
    assert "--directory" in said and differences(folder, uninterrupted) == []
    for record in ("results/study.json", "data/study.json"):
        (folder / record).unlink()
    nobodys = run(folder, *asked)
    assert nobodys.code != 0 and "nothing says which study made it" in " ".join(nobodys.text.split())
