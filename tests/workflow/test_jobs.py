"""What a job prints goes to its log, as text that steers nothing."""

import os
import subprocess
import sys

IMPORTS = "import subprocess, sys; from doubledraft.log import log; from doubledraft.workflow.jobs import log_to; "


def test_what_a_process_and_its_children_print_goes_to_the_log_and_messages_to_the_terminal_too(tmp_path):
    code = f"{IMPORTS} log_to({str(tmp_path / 'logs' / 'rule.log')!r})\n"
    code += "print('own'); sys.stdout.flush(); subprocess.run(['echo', 'child']); log.info('progress 3/7')\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    logged = (tmp_path / "logs" / "rule.log").read_text()
    assert "own" in logged and "child" in logged and "progress 3/7" in logged
    assert "progress 3/7" in result.stderr and "child" not in result.stderr + result.stdout


def test_text_of_a_model_neither_steers_the_terminal_nor_forges_a_line_of_the_log(tmp_path):
    hostile = "\\x1b[2J\\x9b31m\\u202e\\r12:00:00 all is well\\n12:00:00 scored 48 questions"
    code = f"{IMPORTS} log_to('rule.log'); log.info('%s', '{hostile}')"
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    for text in (result.stderr, (tmp_path / "rule.log").read_text()):
        assert text.count("\n12:") == 0 and "\\x1b[2J\\x9b31m\\u202e\\r12:00:00 all is well\n    12:00:00" in text
        assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(text)
