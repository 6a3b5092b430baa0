from __future__ import annotations

import threading

from streamrec.serving.recent_ids import RecentIds


def test_an_id_is_new_once():
    recent = RecentIds(10)
    assert recent.add("e1") is True
    assert recent.add("e1") is False
    assert "e1" in recent


def test_it_is_bounded_and_forgets_the_oldest():
    recent = RecentIds(3)
    for number in range(5):
        recent.add(f"e{number}")
    assert len(recent) == 3
    assert [f"e{number}" in recent for number in range(5)] == [False, False, True, True, True]


def test_a_repetition_keeps_an_id_fresh():
    recent = RecentIds(2)
    recent.add("a")
    recent.add("b")
    recent.add("a")
    recent.add("c")
    assert ("a" in recent, "b" in recent) == (True, False)


def test_of_many_threads_one_is_first():
    recent = RecentIds(1000)
    firsts = []
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        firsts.append(sum(recent.add(f"e{number}") for number in range(500)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(firsts) == 500
