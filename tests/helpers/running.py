"""Run Snakemake's command line on a copy of the workflow whose steps only make their files.

The copy keeps every rule as it is but for its `script:`, which becomes a shell line that makes the outputs: the graph,
temporary files and rerun reasons are Snakemake's own, while a whole grid takes seconds. The command line runs in a
process forked from a server that has imported Snakemake once, since the import takes longer than most dry runs.
"""

import atexit
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = re.compile(r'    script:\n        "\.\./scripts/(\w+)\.py"\n')
# a step fails where a file named as its log with `.fail` after it says so
STAND_IN = '''    shell:
        """
        test ! -e {log}.fail
        for path in {output}; do
            mkdir -p $(dirname $path)
            case $(basename $path) in *.*) date +%N > $path ;; *) mkdir -p $path ;; esac
        done
        """
'''
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(  # with what every run imports later
    ["snakemake.cli", "snakemake.report", "docutils.core", "jsonschema", "nbformat", "smart_open"]
)


@dataclass(frozen=True)
class Outcome:
    """How a run of Snakemake ended: exit code and everything it printed."""

    code: int
    text: str

    @property
    def jobs(self) -> Counter:
        """Count the jobs of a dry run by rule, without rule all."""
        table = self.text.partition("Job stats:\n")[2].partition("\n\n")[0]
        rows = (line.split() for line in table.splitlines()[2:])
        return Counter({name: int(count) for name, count in rows if name not in ("all", "total")})

    def values(self, wildcard: str, rule: str | None = None) -> set[str]:
        """Return the values that a wildcard takes in the jobs of a dry run, of one rule or of all."""
        blocks = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", self.text, re.MULTILINE)
        chosen = [block for name, block in blocks if rule in (None, name)]
        return {value for block in chosen for value in re.findall(rf"wildcards: .*?\b{wildcard}=([^,\s]+)", block)}


def snakemake(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> Outcome:
    """Run `snakemake` with these arguments in a folder, with the variables of this process where none are given."""
    with tempfile.NamedTemporaryFile() as output:
        variables = dict(os.environ if environment is None else environment)
        process = _server.Process(target=_main, args=(arguments, str(folder), output.name, variables))
        process.start()
        process.join()
        return Outcome(process.exitcode, Path(output.name).read_text())


def _main(arguments: tuple[str, ...], folder: str, output: str, variables: dict[str, str]) -> None:
    file = os.open(output, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    sys.argv = ["snakemake", *arguments]
    for name in [name for name in sys.modules if name.partition(".")[0] == "doubledraft"]:
        del sys.modules[name]  # the copy has its own
    from snakemake.cli import main

    try:
        main(list(arguments))
    finally:
        atexit._run_exitfuncs()  # a forked process ends without them, and the lock of a run is let go by one


def copy_workflow(folder: Path) -> Path:
    """Copy everything that Snakemake reads, scripts included."""
    for name in ("rules", "scripts", "config", "doubledraft", "profiles", "report"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    return folder


def put_stand_ins(folder: Path) -> None:
    """Replace every script of a copy but `record_study`, which the parse of the workflow reads, with the shell line."""
    for file in (folder / "rules").glob("*.smk"):
        replaced = SCRIPT.sub(lambda match: match[0] if match[1] == "record_study" else STAND_IN, file.read_text())
        file.write_text(replaced)
