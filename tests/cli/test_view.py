"""`doubledraft view`: a page from decoding records, from answers of vLLM's server, and with further drafts."""

import json

from doubledraft.cli.main import REFUSED, main
from doubledraft.records import write_records
from tests.helpers import decodings
from tests.helpers.decodings import vllm_answer


def test_a_page_is_written_beside_the_records_with_further_drafts_in_it(tmp_path, capsys):
    file, other = tmp_path / "decoding.jsonl", tmp_path / "audit.jsonl"
    write_records(file, decodings.records())
    write_records(other, [decodings.audit("q0", best=[77, *decodings.ANSWER[1:]])])
    assert main(["view", str(file), "--also", "better", str(other), "--title", "<Ours>"]) == 0
    page = tmp_path / "decoding.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert "&lt;Ours&gt;" in page.read_text() and '"better":[' in page.read_text()


def test_answers_of_vllms_server_become_a_page(tmp_path, capsys):
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps(vllm_answer()) + "\n")
    assert main(["view", str(file), "--out", str(tmp_path / "page.html")]) == 0
    assert "vLLM, K = 2" in (tmp_path / "page.html").read_text()


def test_what_is_no_record_is_refused_by_name(tmp_path, capsys):
    assert main(["view", str(tmp_path / "nothing.jsonl")]) == REFUSED
    (tmp_path / "other.jsonl").write_text('{"id": "q0"}\n')
    assert main(["view", str(tmp_path / "other.jsonl")]) == REFUSED
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["view", str(tmp_path / "empty.jsonl")]) == REFUSED and not (tmp_path / "empty.html").exists()
    said = capsys.readouterr().err
    assert "empty.jsonl: it holds no answers" in said
    assert "nothing.jsonl: cannot be read" in said and "other.jsonl:1: field 'prompt' of DecodingRecord" in said


def test_two_drafts_of_one_name_are_refused(tmp_path, capsys):
    file, other = tmp_path / "decoding.jsonl", tmp_path / "audit.jsonl"
    write_records(file, decodings.records())
    write_records(other, [decodings.audit("q0")])
    assert main(["view", str(file), *["--also", "better", str(other)] * 2]) == REFUSED
    assert "--also: the name 'better' occurs twice" in capsys.readouterr().err
