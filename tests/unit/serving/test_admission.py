from __future__ import annotations

from streamrec.serving.admission import Admission


def test_who_finds_no_place_is_told_so_and_counted():
    shares = []
    admission = Admission(lambda: 2, shares.append)
    assert [admission.take() for _ in range(4)] == [True, True, False, False]
    assert (admission.under_way, shares) == (2, [0.0, 0.5, 1.0, 1.0])
    admission.leave()
    assert admission.has_room()
    assert admission.take()
    assert not admission.has_room()
    assert (admission.under_way, shares[4:]) == (2, [0.5, 1.0])


def test_a_limit_that_falls_takes_nobodys_place_and_gives_none_away():
    limits = [3]
    admission = Admission(lambda: limits[0])
    for _ in range(3):
        admission.take()
    limits[0] = 1
    assert admission.under_way == 3
    admission.leave()
    admission.leave()
    assert not admission.take()
    admission.leave()
    assert admission.take()
