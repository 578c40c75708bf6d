import numpy as np
import pytest

from qkde.bb84.randomness import OsRandomness, SeededRandomness
from qkde.bb84.sifting import SiftedBits, join, sift


def test_bases_are_biased_towards_the_key_basis():
    bases = SeededRandomness(1).bases(200_000, 0.9)
    assert abs(bases.mean() - 0.1) < 4 * (0.09 / 200_000) ** 0.5  # four sigma
    assert set(bases.tolist()) == {0, 1}


def test_bits_are_even():
    bits = SeededRandomness(2).bits(200_001)
    assert len(bits) == 200_001 and bits.dtype == np.uint8
    assert abs(bits.mean() - 0.5) < 4 * 0.5 / 200_001**0.5  # four sigma


def test_a_seed_gives_the_same_numbers_and_the_operating_system_never_does():
    assert np.array_equal(SeededRandomness(3).bits(100), SeededRandomness(3).bits(100))
    assert not np.array_equal(SeededRandomness(3).bits(100), SeededRandomness(4).bits(100))
    assert not np.array_equal(OsRandomness().bits(256), OsRandomness().bits(256))


def test_the_operating_systems_randomness_comes_from_the_operating_system(monkeypatch):
    import qkde.bb84.randomness as module

    monkeypatch.setattr(module.os, "urandom", lambda count: b"\xff" * count)
    assert OsRandomness().bits(9).tolist() == [1] * 9
    assert OsRandomness().bases(3, 0.9).tolist() == [1] * 3


@pytest.mark.parametrize("probability", [0.0, 2**-32, 0.3, 0.5, 0.889, 1 - 2**-32, 1.0])
def test_the_operating_systems_bases_are_drawn_to_32_bits(probability, monkeypatch):
    import qkde.bb84.randomness as module

    # Each of these numbers of 32 bits comes out once: its highest byte first, the others where they are asked for.
    threshold = round(probability * 2**32)
    numbers = [n for n in (0, threshold - 1, threshold, threshold + 1, 2**32 - 1) if 0 <= n < 2**32]
    asked = iter([bytes(n >> 24 for n in numbers)])

    def lower(count):
        undecided = [n for n in numbers if n >> 24 == threshold >> 24]
        assert count == 4 * len(undecided), "they are drawn only where the highest byte does not tell"
        return b"".join((n << 8 & 0xFFFFFFFF).to_bytes(4, "little") for n in undecided)

    monkeypatch.setattr(module.os, "urandom", lambda count: next(asked, None) or lower(count))
    assert OsRandomness().bases(len(numbers), probability).tolist() == [n >= threshold for n in numbers]


def test_the_operating_systems_bases_are_as_often_the_key_basis_as_asked_for():
    bases = OsRandomness().bases(10**6, 0.889)
    assert abs(bases.mean() - 0.111) < 6 * (0.889 * 0.111 / 10**6) ** 0.5  # six sigma: never by chance


def test_key_bits_are_those_of_the_key_basis_and_sample_bits_those_of_the_test_basis():
    sifted = sift(
        bits=np.array([1, 0, 1, 1, 0], np.uint8),
        bases=np.array([0, 0, 1, 1, 0], np.uint8),
        matches=np.array([1, 0, 1, 0, 1], np.uint8),
    )
    assert sifted.key.tolist() == [1, 0]
    assert sifted.sample.tolist() == [1]


def test_frames_are_joined_in_order():
    once, twice = ([np.full(count, i, np.uint8) for i in (0, 1)] for count in (1, 2))
    frames = [SiftedBits(once[i], twice[i], once[i] + 2, twice[i] + 2) for i in (0, 1)]
    assert join(frames).key.tolist() == [0, 1]
    assert join(frames).sample.tolist() == [0, 0, 1, 1]
    assert join(frames).key_choices.tolist() == [2, 3]
    assert join(frames).sample_choices.tolist() == [2, 2, 3, 3]


def test_sifted_bits_are_not_printed():
    assert repr(SiftedBits(*[np.ones(3)] * 4)) == "SiftedBits()"
