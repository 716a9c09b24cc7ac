"""An engine kept alive in a child process: the same answers, again and again, without a core while it waits."""

import time
from collections.abc import Iterator

import pytest

from doubledraft.inference.host import Host, Local
from doubledraft.inference.job import EncodedQuestion
from doubledraft.inference.native_engine import NativeEngine
from tests.helpers.small_job import small_job, uses_no_core

ASKED = [EncodedQuestion("one", [5, 6, 7]), EncodedQuestion("two", [8, 9])]


@pytest.fixture(scope="module")
def job(tiny_model, tmp_path_factory):
    return small_job(tmp_path_factory.mktemp("job"), tiny_model, "baseline", engine="native")


@pytest.fixture(scope="module")
def host(job) -> Iterator[Host]:
    with Host(job) as started:
        yield started


@pytest.mark.slow
def test_it_answers_as_an_engine_in_this_process_does_again_and_again(host, job):
    here = Local(NativeEngine(job)).call("answer", ASKED)[0]
    for _ in range(2):
        began = time.perf_counter()
        rows, seconds = host.call("answer", ASKED)
        assert [row.token_ids for row in rows] == [row.token_ids for row in here]
        assert 0 < seconds <= time.perf_counter() - began
    assert 0.01 < host.peak_memory_gib < 100


@pytest.mark.slow
def test_while_nobody_calls_it_uses_no_core(host):
    host.call("answer", ASKED)
    assert uses_no_core(host)


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_named(tmp_path):
    job = small_job(tmp_path, tmp_path / "missing", "baseline", engine="native")
    expected = pytest.raises(RuntimeError, match=r"native_engine ended with exit status 1 after .*missing")
    with Host(job) as host, expected:
        host.call("answer", ASKED)
