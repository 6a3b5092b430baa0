from __future__ import annotations

import numpy as np
import pytest

from streamrec.stats.exposure import language_exposure
from streamrec.stats.inequality import gini

LANGUAGE_OF = {"a": "en", "b": "en", "c": "fi", "d": "sw"}


def test_counts_slate_places_and_includes_languages_never_shown():
    exposure = language_exposure([["a", "b", "c"], ["a"]], LANGUAGE_OF, ["en", "fi", "sw"])
    assert exposure.tolist() == [3.0, 1.0, 0.0]
    assert gini(exposure) == pytest.approx(0.5)


def test_items_without_a_counted_language_are_left_out():
    assert language_exposure([["a", "nobody", "d"]], LANGUAGE_OF, ["en"]).tolist() == [1.0]


def test_positions_count_by_their_attention_and_those_beyond_the_weights_not_at_all():
    exposure = language_exposure(
        [["a", "c", "d"], ["c"]], LANGUAGE_OF, ["en", "fi", "sw"], position_weights=[1.0, 0.5]
    )
    assert exposure.tolist() == [1.0, 1.5, 0.0]


@pytest.mark.parametrize("weights", [[-1.0], [np.nan], [np.inf]])
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        language_exposure([], LANGUAGE_OF, ["en"], position_weights=weights)


def test_a_repeated_language_is_refused():
    with pytest.raises(ValueError, match="more than once"):
        language_exposure([], LANGUAGE_OF, ["en", "en"])
