"""Find and replace in source code by what it says, not by how it is laid out."""

import ast
import copy


def replace(scope, pattern, instead):
    """Replace all that matches a pattern, in place, and return how many places did.

    Line breaks, comments and parentheses do not matter, nor what is called how where
    the pattern has a name in capitals: it stands for any expression, and for the same
    one wherever it occurs. So `"NEW = F * OLD + I * G"` matches `c = f * c_before + i *
    g`, and `"NEW = OLD + I * G"` makes `c = c_before + i * g` of it.

    Args:
        scope: Syntax tree to search, a module or a function.
        pattern: Source text of one expression, or of statements in a row.
        instead: Source text of what takes its place, with the names of the pattern.

    Raises:
        ValueError: `instead` has a name in capitals that `pattern` has not.
    """
    pattern, instead = _parsed(pattern), _parsed(instead)
    length, count = len(pattern), 0
    for node in list(ast.walk(scope)):
        for field, value in ast.iter_fields(node):
            values = value if isinstance(value, list) else [value]
            for start in range(len(values) - length, -1, -1):
                found = {}
                if _matches(pattern, values[start : start + length], found):
                    count += 1
                    values[start : start + length] = _filled(instead, found)
            if not isinstance(value, list):
                setattr(node, field, values[0])
    return count


def definition(tree, name):
    """Return the tree of a function or a class.

    Args:
        tree: Syntax tree of a module.
        name: Its name; that of a method or an inner function behind those around it
            and a dot, such as `"LSTMCell.call"`.

    Raises:
        ValueError: It is not there exactly once.
    """
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for part in name.split("."):
        found = [
            node
            for node in ast.walk(tree)
            if node is not tree and isinstance(node, kinds) and node.name == part
        ]
        if len(found) != 1:
            raise ValueError(
                f"expected one definition of {part!r} (of {name!r}); "
                f"received {len(found)}"
            )
        (tree,) = found
    return tree


def _parsed(text):
    nodes = ast.parse(text.strip()).body
    if len(nodes) == 1 and isinstance(nodes[0], ast.Expr):
        return [nodes[0].value]
    return nodes


def _matches(pattern, value, found):
    """Compare a part of the pattern; `found` takes what its names stand for."""
    if (
        type(pattern) is ast.Name
        and pattern.id.isupper()
        and isinstance(value, ast.expr)
    ):
        # As text, in which it does not matter whether a name is read or assigned to.
        first = found.setdefault(pattern.id, value)
        return ast.unparse(first) == ast.unparse(value)
    if type(pattern) is not type(value):
        return False
    if isinstance(pattern, list):
        return len(pattern) == len(value) and all(
            _matches(*pair, found) for pair in zip(pattern, value, strict=True)
        )
    if not isinstance(pattern, ast.AST):
        return pattern == value
    return all(
        _matches(getattr(pattern, field, None), getattr(value, field, None), found)
        for field in pattern._fields
        if field != "ctx"
    )


def _filled(nodes, found):
    class Fill(ast.NodeTransformer):
        def visit_Name(self, node):
            if not node.id.isupper():
                return node
            if node.id not in found:
                raise ValueError(
                    f"expected the pattern to have {node.id}, as has what replaces it; "
                    f"received a pattern with {sorted(found)}"
                )
            return copy.deepcopy(found[node.id])

    return [Fill().visit(copy.deepcopy(node)) for node in nodes]
