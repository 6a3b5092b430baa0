from __future__ import annotations

import pytest

from streamrec.contracts.errors import NotFoundError
from streamrec.gates.needed_versions import needed_versions


def test_the_newest_of_before_is_taken_and_not_one_that_came_later(registered, wanting):
    registry, register = registered
    register("shop-retrieval")
    second = register("shop-retrieval")
    ranking = register("shop-ranking")
    register("shop-retrieval")
    assert needed_versions(wanting(candidates="shop-retrieval"), ranking, registry) == {"candidates": second}


def test_what_a_version_depends_on_comes_before_what_its_specification_names(registered, wanting):
    registry, register = registered
    first = register("shop-retrieval")
    register("shop-retrieval")
    ranking = register("shop-ranking", candidates=first.ref)
    assert needed_versions(wanting(candidates="shop-retrieval"), ranking, registry) == {"candidates": first}
    assert needed_versions(wanting(), ranking, registry) == {"candidates": first}


def test_a_model_that_is_not_there_is_named_with_what_to_do(registered, wanting):
    registry, register = registered
    ranking = register("shop-ranking")
    register("shop-retrieval")
    with pytest.raises(NotFoundError, match="register shop-retrieval first, then shop-ranking again"):
        needed_versions(wanting(candidates="shop-retrieval"), ranking, registry)
