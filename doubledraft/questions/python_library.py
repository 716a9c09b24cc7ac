"""Prompts of the domain code: functions of a Python library, each as its signature and docstring without the body.

Sources are parsed, never imported, so nothing of them runs. The standard library is on every machine that runs this
project, under the licence of the Python Software Foundation.
"""

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = {"test", "tests", "site-packages", "dist-packages", "__pycache__", "idle_test", "lib2to3", "pydoc_data"}
FEWEST_WORDS = 6  # of a docstring; fewer do not tell what to write
FEWEST_STATEMENTS = 2  # of a body
LONGEST = 1200  # characters of a prompt
TASK = "Write the body of this Python function."


def standard_library() -> Iterator[tuple[str, str]]:
    """Yield (module, prompt) for the documented functions of the installed standard library, in order of file."""
    root = Path(sysconfig.get_path("stdlib"))
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).parts
        if not LEFT_OUT & set(parts):
            for prompt in functions(file.read_text(encoding="utf-8", errors="replace")):
                yield parts[0].removesuffix(".py"), prompt


def functions(source: str) -> Iterator[str]:
    """Yield a prompt for every documented function of a Python source; none where it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # Python 2, NUL, brackets nested too deep
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (header := _header(node)):
            prompt = f"{TASK}\n\n```python\n{header}\n```"
            if len(prompt) <= LONGEST:
                yield prompt


def _header(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """Return signature and docstring as source, None where the function is not documented or does next to nothing."""
    docstring = ast.get_docstring(node)
    if not docstring or len(docstring.split()) < FEWEST_WORDS or len(node.body) <= FEWEST_STATEMENTS:
        return None
    stub = type(node)(
        name=node.name,
        args=node.args,
        body=[ast.Expr(ast.Constant(docstring.replace("\n", "\n    ")))],  # unparsed as it stands, so indented here
        decorator_list=[],
        returns=node.returns,
        lineno=1,
    )
    return ast.unparse(ast.fix_missing_locations(stub))
