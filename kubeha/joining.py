"""A package as one file: its modules one after the other, each behind those that it imports.

For programs that stay on nodes: here they are modules that can be read and tested alone, there they
are one file, which `plan` shows and anybody can read. The text stays as it is, comments included.

Modules import names from each other (`from package.module import name`), and what they import of
the standard library has the same name everywhere. No name may be defined in two of them.
"""

import ast
from collections.abc import Iterator, Mapping

MAIN = "__main__"


def join(package: str, texts: Mapping[str, str]) -> str:
    """`texts`: module -> source. `__init__` has nothing but the docstring, `__main__` is last."""
    trees = {name: ast.parse(text) for name, text in texts.items()}
    order = list(dict.fromkeys(_behind_its_imports(package, MAIN, trees)))
    foreign = [
        node for name in order for node in _imports(trees[name]) if not _module(package, node)
    ]
    parts = [_part(name, texts[name], trees[name]) for name in order]
    head = f"{texts['__init__'].strip()}\n\n{_merged(foreign)}\n\n"
    return head + "\n\n\n".join(parts) + "\n"


def _imports(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def _module(package: str, node: ast.Import | ast.ImportFrom) -> str:
    """Which of the package's own modules is imported; nothing for others."""
    name = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
    return name.removeprefix(f"{package}.") if name.startswith(f"{package}.") else ""


def _behind_its_imports(package: str, name: str, trees: Mapping[str, ast.Module]) -> Iterator[str]:
    """A module behind all that it needs; the same one may come several times."""
    for node in _imports(trees[name]):
        if own := _module(package, node):
            yield from _behind_its_imports(package, own, trees)
    yield name


def _merged(imports: list[ast.Import | ast.ImportFrom]) -> str:
    """All of them once, sorted."""
    whole = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names: dict[str, set[str]] = {}
    for node in imports:
        if isinstance(node, ast.ImportFrom):
            names.setdefault(node.module or "", set()).update(a.name for a in node.names)
    lines = [f"import {name}" for name in sorted(whole)]
    lines += [f"from {name} import {', '.join(sorted(names[name]))}" for name in sorted(names)]
    return "\n".join(lines)


def _part(name: str, text: str, tree: ast.Module) -> str:
    """A module without its imports; its docstring becomes a comment."""
    lines = text.split("\n")
    told = ast.get_docstring(tree)
    gone: list[ast.stmt] = [*tree.body[:1], *_imports(tree)] if told else [*_imports(tree)]
    for node in reversed(gone):
        del lines[node.lineno - 1 : node.end_lineno]
    comment = [f"# {line}".rstrip() for line in [f"{name}.py", *(told or "").split("\n")]]
    body = "\n".join(lines).strip()
    blank = "\n\n\n" if body.startswith(("class ", "def ", "@")) else "\n\n"
    return "\n".join(comment) + blank + body
