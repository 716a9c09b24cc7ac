"""vLLM's server and client on a tiny pair: both arms are measured at each rate, and every request is answered."""

import pytest

from doubledraft.evaluation.load import served
from doubledraft.inference import served_engine
from doubledraft.summaries import json_file
from doubledraft.summaries.advice import ServedLoad
from tests.helpers.small_job import small_job


def job(folder, model, draft):
    drafting = {"method": "draft_model", "draft": str(draft), "draft_length": 2}
    return small_job(folder, model, "speculative", questions=4, max_tokens=8, **drafting)


@pytest.mark.slow
def test_both_arms_are_measured_at_every_rate(tiny_model, tiny_draft, tmp_path):
    out = tmp_path / "served.json"
    served.run(job(tmp_path, tiny_model, tiny_draft), rates=[4.0], out=str(out), figure=str(tmp_path / "served.png"))
    found = json_file.read(out, ServedLoad)
    assert [(one.arm, one.rate, one.n, one.failed) for one in found.points] == [
        ("alone", 4.0, 4, 0),
        ("with the draft", 4.0, 4, 0),
    ]
    for one in found.points:
        assert 0 < one.time_to_first_token < one.latency
        assert one.time_to_first_token_p90 is None, "four requests have no p90"
    alone, drafted = found.points
    assert alone.acceptance_rate is None and 0 <= drafted.acceptance_rate <= 1
    assert (tmp_path / "served.png").stat().st_size > 5000


def test_a_rate_at_which_nothing_is_answered_has_no_latency_of_0(tiny_model, tiny_draft, tmp_path, monkeypatch):
    class Refusing:
        def __init__(self, *_) -> None: ...
        def __enter__(self):
            return self

        def __exit__(self, *_) -> None: ...
        def bench(self, *_) -> dict:
            return {"completed": 0, "failed": 4, "median_ttft_ms": 0.0}

    monkeypatch.setattr(served, "Server", Refusing)
    with pytest.raises(RuntimeError, match="alone, 4.0 requests per second: no request was answered"):
        served.run(job(tmp_path, tiny_model, tiny_draft), rates=[4.0], out=str(tmp_path / "served.json"), figure="")
    assert not (tmp_path / "served.json").exists()


@pytest.mark.slow
def test_vllm_reads_the_options_as_they_are_meant(tiny_model, tiny_draft, tmp_path):
    from vllm.benchmarks.serve import add_cli_args
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    asked = job(tmp_path, tiny_model, tiny_draft)
    server = make_arg_parser(FlexibleArgumentParser()).parse_args(served_engine.server_options(asked))
    assert server.speculative_config == {
        "method": "draft_model",
        "model": str(tiny_draft),
        "num_speculative_tokens": 2,
        "draft_tensor_parallel_size": 1,
    }
    assert (server.enable_prefix_caching, server.async_scheduling, server.max_num_seqs) == (False, False, 2)
    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    client = parser.parse_args(served_engine.client_options(asked, 4, 0.5))
    assert (client.request_rate, client.temperature, client.num_prompts, client.custom_output_len) == (0.5, 0, 4, 8)
    assert client.skip_chat_template and client.extra_body == {"add_special_tokens": False}
