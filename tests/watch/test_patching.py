"""Wrapping a method so that it can be taken back, in any company."""

import functools
import inspect

import pytest

from pytest_taskleak.watch import Patch


class Base:
    def work(self, amount, *, unit="kg"):
        """Do it."""
        return f"{amount} {unit}"


class Derived(Base):
    pass


def counting(seen):
    def make(original, patch):
        def work(self, /, *args, **kwargs):
            if not patch.live:
                return patch.stale(self, *args, **kwargs)
            seen.append(args)
            return original(self, *args, **kwargs)

        return work

    return make


@pytest.fixture
def original():
    return vars(Base)["work"]


@pytest.fixture(autouse=True)
def restored(original):
    yield
    assert vars(Base)["work"] is original
    assert "work" not in vars(Derived)


def test_the_wrapped_method_behaves_as_before():
    seen = []
    patch = Patch(Base, "work", counting(seen))
    assert Base().work(2, unit="lb") == "2 lb"
    assert str(inspect.signature(Base.work)) == "(self, amount, *, unit='kg')"
    assert (Base.work.__name__, Base.work.__doc__) == ("work", "Do it.")
    with pytest.raises(TypeError):
        Base().work()
    assert seen == [(2,), ()]
    patch.undo()


def test_a_method_is_wrapped_where_it_is_defined():
    seen = []
    patch = Patch(Derived, "work", counting(seen))
    Base().work(1)
    assert seen == [(1,)]
    patch.undo()


def test_undoing_twice_is_harmless():
    patch = Patch(Base, "work", counting([]))
    patch.undo()
    patch.undo()


def test_a_run_inside_a_run_takes_the_outer_one_out_of_the_way():
    outer, inner = [], []
    first = Patch(Base, "work", counting(outer))
    second = Patch(Base, "work", counting(inner))
    Base().work(1)
    second.undo()
    Base().work(2)
    first.undo()
    assert (outer, inner) == ([(2,)], [(1,)])


def wrap_foreign(log):
    """Another plugin's way: it keeps what it finds, and puts that back."""
    before = Base.work

    @functools.wraps(before)
    def work(self, *args, **kwargs):
        log.append(args)
        return before(self, *args, **kwargs)

    # functools.wraps copies attributes; another plugin's wrapper is not ours for that
    Base.work = work
    return lambda: setattr(Base, "work", before)


def test_another_wrapper_on_top_that_goes_first():
    ours, theirs = [], []
    patch = Patch(Base, "work", counting(ours))
    unwrap = wrap_foreign(theirs)
    Base().work(1)
    unwrap()
    patch.undo()
    assert (ours, theirs) == ([(1,)], [(1,)])


def test_another_wrapper_on_top_that_goes_last():
    ours, theirs = [], []
    patch = Patch(Base, "work", counting(ours))
    unwrap = wrap_foreign(theirs)
    patch.undo()
    Base().work(1)
    assert (ours, theirs) == ([], [(1,)])
    unwrap()
    assert Base().work(2) == "2 kg"  # ours was put back: it does nothing, and goes


def test_another_wrapper_between_two_runs_is_not_taken_for_ours():
    outer, theirs, inner = [], [], []
    first = Patch(Base, "work", counting(outer))
    unwrap = wrap_foreign(theirs)
    second = Patch(Base, "work", counting(inner))
    Base().work(1)
    second.undo()
    unwrap()
    first.undo()
    assert (outer, theirs, inner) == ([(1,)], [(1,)], [(1,)])


def test_another_wrapper_below_that_goes_first(original):
    ours, theirs = [], []
    unwrap = wrap_foreign(theirs)
    patch = Patch(Base, "work", counting(ours))
    unwrap()
    Base().work(1)
    patch.undo()
    assert (ours, theirs) == ([], [])


def test_another_wrapper_below_that_goes_last():
    ours, theirs = [], []
    unwrap = wrap_foreign(theirs)
    patch = Patch(Base, "work", counting(ours))
    Base().work(1)
    patch.undo()
    Base().work(2)
    unwrap()
    assert (ours, theirs) == ([(1,)], [(1,), (2,)])
