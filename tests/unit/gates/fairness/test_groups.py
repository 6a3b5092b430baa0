"""Groups by attribute and intersection."""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.fairness_policy import FairnessPolicy
from streamrec.gates.fairness.groups import partitions, reference_of


def test_rows_go_to_their_group_and_those_that_do_not_say_to_one_of_their_own():
    policy = FairnessPolicy(attributes=("sex", "age"), intersections=(("sex", "age"),))
    columns = {"sex": ["F", "M", None, " ", "F"], "age": ["30s", "30s", "40s", "40s", "40s"]}
    by_sex, by_age, both = partitions(columns, policy)
    assert [by_sex.names[code] for code in by_sex.codes] == [
        "sex=F",
        "sex=M",
        "sex=(missing)",
        "sex=(missing)",
        "sex=F",
    ]
    assert by_age.names == ("age=30s", "age=40s")
    assert both.names == ("sex=F & age=30s", "sex=F & age=40s", "sex=M & age=30s")
    assert both.codes.tolist() == [0, 2, -1, -1, 1]


def test_ids_are_no_groups():
    policy = FairnessPolicy(attributes=("user",))
    with pytest.raises(InvalidInputError, match=r"groups\.user: has more than 1000"):
        list(partitions({"user": np.array([f"u{n}" for n in range(1_001)], dtype=object)}, policy))


def test_the_reference_is_the_largest_group_that_says_who_it_is_or_the_one_that_is_named():
    sizes = {"sex=F": 10, "sex=M": 10, "sex=(missing)": 90, "sex=X": 4}
    assert reference_of(sizes, "sex", FairnessPolicy(attributes=("sex",))) == "sex=F"
    assert reference_of(sizes, "sex", FairnessPolicy(attributes=("sex",), reference="M")) == "sex=M"
    assert reference_of(sizes, "sex", FairnessPolicy(attributes=("sex",), reference="sex=X")) == "sex=X"
    assert reference_of({"sex=(missing)": 5}, "sex", FairnessPolicy(attributes=("sex",))) is None
