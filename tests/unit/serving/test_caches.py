from __future__ import annotations

import threading

import pytest

from streamrec.serving.caches import TtlCache


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(clock):
    return TtlCache[str, "int | None"](maximum_entries=3, lifetime_s=900.0, clock=clock)


def put(cache, key, value):
    with cache.fill(key) as store:
        assert store(value)


def test_a_value_lives_for_its_lifetime(cache, clock):
    put(cache, "u", 1)
    clock.now_s = 899.9
    assert cache.get("u", -1) == 1
    clock.now_s = 900.0
    assert cache.get("u", -1) == -1
    assert len(cache) == 0


def test_reading_does_not_lengthen_a_life(cache, clock):
    put(cache, "u", 1)
    for clock.now_s in (500.0, 899.0):
        assert cache.get("u", None) == 1
    clock.now_s = 901.0
    assert cache.get("u", None) is None


def test_the_least_recently_used_goes_first(cache):
    for key in "abc":
        put(cache, key, 1)
    cache.get("a", None)
    put(cache, "d", 1)
    assert [key for key in "abcd" if cache.get(key, None) is not None] == ["a", "c", "d"]


def test_none_is_a_value(cache):
    with cache.fill("u") as store:
        assert store(None) is True
    assert cache.get("u", "nothing") is None


def test_a_load_that_fails_stores_nothing(cache):
    with pytest.raises(RuntimeError), cache.fill("u"):
        raise RuntimeError("down")
    assert cache.get("u", "nothing") == "nothing"


def test_a_read_that_overlaps_an_invalidation_is_not_stored(cache):
    """The user acts while a slow read of the old row is under way: the old row must not come back."""
    with cache.fill("u") as store:
        cache.invalidate("u")
        assert store(1) is False
    assert cache.get("u", "nothing") == "nothing"


def test_a_read_that_begins_after_an_invalidation_is_stored_even_if_an_older_one_still_runs(cache):
    with cache.fill("u") as old:
        cache.invalidate("u")
        with cache.fill("u") as new:
            assert new(2) is True
        assert old(1) is False
    assert cache.get("u", None) == 2


def test_clear_forgets_values_and_reads_under_way(cache):
    put(cache, "a", 1)
    with cache.fill("b") as store:
        cache.clear()
        assert store(1) is False
    assert len(cache) == 0


def test_fills_leave_nothing_behind(cache):
    for number in range(100):
        with cache.fill(str(number)):
            pass
    with pytest.raises(RuntimeError), cache.fill("x"):
        raise RuntimeError
    assert cache._fills == {}


def test_many_threads_keep_the_bound():
    cache: TtlCache[int, int] = TtlCache(maximum_entries=50, lifetime_s=60.0)
    errors = []

    def work(offset):
        try:
            for number in range(2000):
                key = (number * offset) % 97
                assert cache.get(key, key) == key
                with cache.fill(key) as store:
                    store(key)
                cache.invalidate(number % 13)
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in (1, 3, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(cache) <= 50


@pytest.mark.parametrize(
    "options", [{"maximum_entries": 0, "lifetime_s": 1.0}, {"maximum_entries": 1, "lifetime_s": 0.0}]
)
def test_a_cache_needs_bounds(options):
    with pytest.raises(ValueError, match="needs"):
        TtlCache(**options)


def test_what_is_heavy_together_is_not_kept_whatever_the_number():
    now_s = [0.0]
    cache = TtlCache(maximum_entries=9, lifetime_s=10.0, maximum_weight=10, weigh=len, clock=lambda: now_s[0])

    def keep(key, value):
        with cache.fill(key) as store:
            store(value)

    keep("a", "1234")
    keep("b", "12345")
    keep("a", "1")  # in place of the one before
    keep("c", "1234")
    assert [cache.get(key, None) for key in "abc"] == ["1", "12345", "1234"]
    keep("d", "1")
    assert [cache.get(key, None) for key in "abcd"] == [None, "12345", "1234", "1"]
    keep("e", "12345678901")
    assert [cache.get(key, None) for key in "bcde"] == ["12345", "1234", "1", None]
    keep("f", "1234567890")
    cache.invalidate("f")
    keep("g", "1234567890")
    now_s[0] = 10.0
    assert cache.get("g", None) is None
    keep("h", "1234567890")
    cache.clear()
    keep("i", "1234567890")
    assert len(cache) == 1
