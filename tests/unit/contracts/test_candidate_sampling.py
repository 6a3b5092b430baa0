from __future__ import annotations

from streamrec.contracts.units import CANDIDATES_SHARE_BP, keeps_candidates


def test_one_request_in_a_hundred_is_sampled():
    sampled = sum(keeps_candidates(f"request-{number}") for number in range(50_000))
    # Binomial, 50,000 at 1 %: mean 500, standard deviation 22.
    assert CANDIDATES_SHARE_BP == 100
    assert abs(sampled - 500) < 90


def test_the_sample_is_the_same_everywhere_and_always():
    sampled = [number for number in range(500) if keeps_candidates(f"r{number}")]
    assert sampled == SAMPLED_OF_THE_FIRST_500


SAMPLED_OF_THE_FIRST_500 = [130, 138, 172, 309, 329, 424]
