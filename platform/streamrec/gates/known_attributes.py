"""Attributes that a fairness policy names, and that only the data can tell."""

from __future__ import annotations

from collections.abc import Collection

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.gates.evaluation_data import EvaluationData
from streamrec.gates.fairness.item_groups import read_item_groups


def check_attributes(specification: ModelSpecification, evaluation: EvaluationData) -> None:
    """Check that every attribute of the policy is in the data: of units, or of what is shown to them.

    Args:
        specification: Of the model.
        evaluation: Its evaluation data: has a column ``group.ATTRIBUTE`` for every attribute of its units.

    Raises:
        InvalidInputError: One is not; ``field`` is its dotted path, and the problem says what there is.
    """
    people = specification.people(evaluation.data_set)
    if people.fairness is None:
        return
    of_data_set = evaluation.data_set in specification.data_sets
    place = f"data_sets.{evaluation.data_set}.fairness" if of_data_set else "fairness"
    of_units = evaluation.table.attributes
    of_items = read_item_groups(evaluation.data, people.fairness, of_units=of_units)
    _check_known(people.fairness.attributes, {*of_units, *of_items}, f"{place}.attributes")


def _check_known(attributes: Collection[str], known: Collection[str], place: str) -> None:
    for number, attribute in enumerate(attributes):
        if attribute not in known:
            there = ", ".join(sorted(known)) or "none"
            raise InvalidInputError(
                f"{place}.{number}",
                f"names {attribute!r}, and the evaluation data has no column group.{attribute}; there are "
                f"groups of: {there}. Add the column, or take the attribute out of the policy",
            )
