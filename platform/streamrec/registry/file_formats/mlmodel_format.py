"""MLflow's description of a model: YAML that holds plain values and nothing else.

Looked at as a stream of events, from which no object is constructed.
"""

from __future__ import annotations

import re
from typing import Final

import yaml

_CORE_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")
)
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_NUMBER_TAGS: Final = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_MAXIMUM_DEPTH: Final = 16
_MAXIMUM_NUMBER_CHARACTERS: Final = 64
_DIRECTIVE: Final = re.compile(r"^\ufeff?%", re.MULTILINE)

_OWN_FLAVOR: Final = "streamrec"
"""The one way of loading that the registry writes down. Any other one names code that MLflow would run."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is there, as MLflow does: the other one takes seconds for a megabyte."""


def mlmodel_problem(content: bytes) -> str | None:
    """Return what is wrong with the description, or None."""
    try:
        text = content.decode("utf-8")
        if _DIRECTIVE.search(text):
            return "holds a YAML directive"
        problem = _problem_of_events(text)
        if problem is not None:
            return problem
        root = yaml.compose(text, Loader=_LOADER)
        return _problem_of_nodes(root) or _problem_of_flavors(root)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        return f"not YAML in UTF-8 ({' '.join(str(error).split())[:300]})"


def _problem_of_events(text: str) -> str | None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                return "holds more than one YAML document"
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            return "holds a YAML anchor or alias; write every value out"
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAXIMUM_DEPTH:
                return f"is nested more than {_MAXIMUM_DEPTH} levels deep"
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _CORE_TAGS:
            return f"holds the YAML tag {tag[:80]!r}; only plain values are allowed"
    return None


def _problem_of_nodes(root: yaml.Node | None) -> str | None:
    """Look at the keys, and at what readers would resolve. The depth is bounded already."""
    if not isinstance(root, yaml.MappingNode):
        return "is not a YAML mapping"
    waiting: list[yaml.Node] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if key.tag == _TEXT_TAG]
            if len(keys) < len(node.value):
                return "holds a key that is not text"
            if len(set(keys)) < len(keys):
                return "repeats a key"
            waiting.extend(value for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif node.tag in _NUMBER_TAGS and len(node.value) > _MAXIMUM_NUMBER_CHARACTERS:
            return f"holds a number of {len(node.value)} characters"
    return None


def _problem_of_flavors(root: yaml.Node | None) -> str | None:
    """A flavor such as ``python_function`` names a ``loader_module`` or a folder of code."""
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value != "flavors":
            continue
        names = (
            [name.value for name, _ in value.value] if isinstance(value, yaml.MappingNode) else ["no mapping"]
        )
        foreign = next((name for name in names if name != _OWN_FLAVOR), None)
        if foreign is not None:
            return f"names the flavor {foreign[:80]!r}, by which others run code; allowed is {_OWN_FLAVOR!r}"
    return None
