from __future__ import annotations

from pathlib import Path

import pytest

from streamrec.contracts.errors import NotFoundError
from streamrec.gates.contenders import Contender
from streamrec.gates.registered_versions import champion_beside, registered_contender


def contender(specification, needs) -> Contender:
    return Contender("shop-ranking@2", specification, Path("candidate"), "d" * 64, needs, Path("data"))


def test_a_champion_answers_with_the_other_models_of_the_candidate(registered, wanting):
    registry, register = registered
    register("shop-retrieval")
    champion = register("shop-ranking")
    needs = {"candidates": Path("newer retrieval")}
    specification = wanting(candidates="shop-retrieval")
    found = champion_beside(contender(specification, needs), champion, registry)
    assert found.needs == needs
    assert (found.subject, found.data) == ("shop-ranking@1", Path("data"))
    # It was registered without a specification: it answers by the candidate's.
    assert found.specification is specification


def test_what_a_champion_depends_on_stays_its_own(registered, wanting):
    registry, register = registered
    space = register("shop-retrieval")
    champion = register("shop-ranking", candidates=space.ref)
    needs = {"candidates": Path("newer retrieval"), "order": Path("order")}
    found = champion_beside(contender(wanting(), needs), champion, registry)
    assert found.needs == {"candidates": registry.fetch(space), "order": Path("order")}


def test_a_version_without_a_specification_cannot_be_judged(registered):
    registry, register = registered
    with pytest.raises(NotFoundError, match="without a specification"):
        registered_contender(register("shop-ranking"), registry)
