"""MLflow's description of a model: plain YAML passes; what constructs, refers or multiplies is refused."""

from __future__ import annotations

import pytest
import yaml

from streamrec.registry.file_formats import mlmodel_format
from streamrec.registry.file_formats.mlmodel_format import mlmodel_problem


@pytest.fixture(params=["libyaml", "pure"], autouse=True)
def loader(request, monkeypatch):
    if request.param == "pure":
        monkeypatch.setattr(mlmodel_format, "_LOADER", yaml.SafeLoader)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML was built without libyaml")


@pytest.mark.parametrize(
    "text",
    [
        "flavors: {}\n",
        'flavors:\n  streamrec: {format: 1}\nsignature:\n  inputs: \'[{"type": "tensor"}]\'\n',
        "a: !!str 1\nb: !<tag:yaml.org,2002:int> 2\n",
        "a: 'not !!python/object, not &a, not *a, not %TAG'\n",
        "---\na: [1, 2.5, true, 2026-01-01]\n...\n",
    ],
)
def test_plain_values_pass(text):
    assert mlmodel_problem(text.encode()) is None


BAD = {
    "python by shorthand": ("a: !!python/object/apply:os.system ['true']", "YAML tag"),
    "python, verbatim": ("a: !<tag:yaml.org,2002:python/object/apply:os.system> ['true']", "YAML tag"),
    "python, escaped": ("a: !!%70ython/name:os.system ''", "YAML tag"),
    "python by a directive": (
        "%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!name:os.system ''",
        "directive",
    ),
    "a redefined shorthand": ("%TAG !! tag:evil.org,2026:\n---\na: !!str x", "directive"),
    "a directive of a version": ("%YAML 1.1\n---\na: 1", "directive"),
    "a directive after a mark": ("\ufeff%TAG ! tag:x:\n---\na: !x 1", "directive"),
    "local": ("a: !x 1", "YAML tag"),
    "local, verbatim": ("a: !<!x> 1", "YAML tag"),
    "not specific": ("a: ! 1", "YAML tag"),
    "on a key": ("!!python/name:os.system '': 1", "YAML tag"),
    "on a mapping": ("!!python/object:x.Y {a: 1}", "YAML tag"),
    "on a sequence": ("a: !!python/tuple [1]", "YAML tag"),
    "on an empty value": ("a: !!python/none", "YAML tag"),
    "a set": ("a: !!set {b}", "YAML tag"),
    "bytes": ("a: !!binary AAAA", "YAML tag"),
    "in a second document": ("a: 1\n---\nb: !!python/none", "more than one"),
    "two documents": ("a: 1\n---\nb: 1", "more than one"),
    "an anchor": ("a: &x 1", "anchor"),
    "an anchor on a list": ("a: &x [1]", "anchor"),
    "a bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]", "anchor"),
    "a circle": ("&a {b: *a}", "anchor"),
    "deep": ("a: " + "[" * 16 + "]" * 16, "levels deep"),
    "very deep": ("a: " + "[" * 500_000, "deep|not YAML"),
    "deep by lines": ("\n".join(" " * level + "a:" for level in range(20)) + " 1", "levels deep"),
    "a key twice": ("a: 1\nb: {c: 1, c: 2}", "repeats a key"),
    "a number as key": ("1: a", "not text"),
    "a list as key": ("? [a]\n: 1", "not text"),
    "a merge": ("a: {<<: {b: 1}}", "not text"),
    "a number of many digits": ("a: " + "1" * 100_000, "100000 characters"),
    "a time of many parts": ("a: 1" + ":01" * 1000, "characters"),
    "a list": ("- a", "not a YAML mapping"),
    "text": ("a", "not a YAML mapping"),
    "nothing": ("", "not a YAML mapping"),
    "NUL": ("a: b\0c", "not YAML"),
    "a control character": ("a: \x1b[31m", "not YAML"),
    "not YAML": ("a: [", "not YAML"),
    "an unknown shorthand": ("a: !x!y 1", "not YAML"),
    "an alias to nothing": ("a: *b", "alias"),
}


@pytest.mark.parametrize("kind", BAD)
def test_everything_else_is_refused(kind):
    text, words = BAD[kind]
    problem = mlmodel_problem(text.encode())
    assert problem is not None
    assert any(word in problem for word in words.split("|")), problem


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings_are_refused(encoding):
    assert "UTF-8" in (mlmodel_problem("ä: !!python/none".encode(encoding)) or "")
