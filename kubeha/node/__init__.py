"""What runs on a node: standard library only, Python 3.6 and later, nothing installed.

The modules beside this one import each other as usual, here and on the node: the program sent is
a list of module sources with a few lines that register them under the same names. Only what an
operation needs is sent. This module is the operator's side and stays here.
"""

import ast
import zlib
from functools import cache
from importlib import resources

from kubeha.node.program import OPERATIONS

# The first line of ours on standard output: a chatty ~/.bashrc may have written before it.
SENTINEL = "kubeha-node"
OLDEST_PYTHON = (3, 6)

# Fits between single quotes of any login shell (no quote, no `!`, one line), runs on any Python 3,
# and says the version before anything that an old one could not compile.
BOOTSTRAP = (
    f'import sys,zlib;print("\\n{SENTINEL}",sys.version_info[0],sys.version_info[1],flush=True);'
    "i=sys.stdin.buffer;exec(zlib.decompress(i.read(int(i.readline()))))"
)

_LOADER = """
import sys, types
for name, source in MODULES:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
sys.modules["kubeha.node.program"].main()
"""


@cache
def program(operation: str) -> bytes:
    """The program for one operation, length-prefixed, as BOOTSTRAP reads it."""
    names = ("wire", *OPERATIONS[operation], "program")
    modules = [(f"kubeha.node.{name}", _source(name)) for name in names]
    packed = zlib.compress(f"MODULES = {modules!r}\n{_LOADER}".encode(), 9)
    return b"%d\n%s" % (len(packed), packed)


def _source(name: str) -> str:
    text = resources.files("kubeha.node").joinpath(f"{name}.py").read_text("utf-8")
    return without_docstrings(text)


def without_docstrings(text: str) -> str:
    """A fifth less to send; the lines stay where they are, for tracebacks."""
    lines = text.split("\n")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        # Where it is all that there is, it is the body.
        if isinstance(node, documented) and ast.get_docstring(node) and len(node.body) > 1:
            first = node.body[0]
            last = first.end_lineno or first.lineno
            lines[first.lineno - 1 : last] = [""] * (last - first.lineno + 1)
    return "\n".join(lines)
