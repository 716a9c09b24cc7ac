"""The folder of a study: whose it is, and dates of its files."""

import os
import subprocess

import pytest

from doubledraft.workflow import folder
from doubledraft.workflow.config import StudyError


def test_an_input_from_the_future_is_refused_with_the_command_that_mends_it(tmp_path):
    now, files = 1_800_000_000.0, [tmp_path / name for name in ("old.yaml", "a new.yaml", "none.yaml")]
    for file, seconds in zip(files[:2], (0, 7200), strict=True):
        file.touch()
        os.utime(file, (now + seconds, now + seconds))
    folder.check_dates([files[0], files[2]], now)
    with pytest.raises(StudyError, match=rf"a new\.yaml is dated 2\.0 h in the future.*`touch '{files[1]}'`"):
        folder.check_dates(files, now)


@pytest.mark.parametrize("record", folder.RECORDS)
def test_folder_of_another_study_is_refused_by_both_names(tmp_path, record):
    folder.check_folder("mine", tmp_path)
    record = tmp_path / record
    record.parent.mkdir()
    record.write_text('{"study": "default"}')
    folder.check_folder("default", tmp_path)
    with pytest.raises(StudyError, match=r"study\.json .*'default'.*'mine'.*--directory"):
        folder.check_folder("mine", tmp_path)
    record.write_text("{")
    with pytest.raises(StudyError, match=r"study\.json .* cannot be read"):
        folder.check_folder("mine", tmp_path)


@pytest.mark.parametrize(
    "made",
    [
        "data/ledger/cot_easy.jsonl",
        "data/questions/easy/train.jsonl",
        "data/models/small/manifest.json",
        "results/cod_easy/metrics.json",
        "results/cod_easy/target_adapter/adapter_model.safetensors",
    ],
)
def test_folder_with_what_nobody_owns_is_refused_until_somebody_does(tmp_path, made):
    (tmp_path / made).parent.mkdir(parents=True)
    (tmp_path / made).touch()
    with pytest.raises(StudyError, match=r"nothing says which study made it .*--directory") as caught:
        folder.check_folder("mine", tmp_path)
    (tmp_path / "results").mkdir(exist_ok=True)
    subprocess.run(str(caught.value).partition("record that: ")[2], shell=True, check=True)
    folder.check_folder("mine", tmp_path)


def test_a_folder_with_logs_and_files_of_the_user_is_nobodys(tmp_path):
    for file in ("results/logs/record_folder.log", "results/.run.lock", "data/README.md", "data/raw/mine/train.jsonl"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    folder.check_folder("mine", tmp_path)
