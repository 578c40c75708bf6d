"""Random bits and bases through a link, and the comparisons with theory that tests make of them."""

from types import SimpleNamespace

import numpy as np

from qkde.link.channel import transmit

PULSES = 100_000


def within_3_sigma(count, trials, probability):
    return abs(count - trials * probability) <= 3 * (trials * probability * (1 - probability)) ** 0.5


def sent_through(physics, seed, pulses=PULSES, mean_photons=None, mode="grouped"):
    """What came of `pulses` random pulses: single photons, or Poisson numbers with a mean."""
    ends = np.random.default_rng(seed)
    bits, bases, measured = ends.integers(0, 2, (3, pulses), dtype=np.uint8)
    nature = np.random.default_rng(seed + 1)
    photons = None if mean_photons is None else nature.poisson(mean_photons, pulses).astype(np.uint8)
    sent = transmit(bits, bases, measured, physics, nature, photons, mode)
    sifted = (bases == measured) & (sent.clicks == 1)
    return SimpleNamespace(
        bits=bits, bases=bases, measured=measured, sent=sent, sifted=sifted, photons=photons,
        wrong=sifted & (sent.outcomes != bits),
    )  # fmt: skip


def errors_in(run, basis):
    """(errors, sifted) of a basis."""
    here = run.sifted & (run.bases == basis)
    return int(run.wrong[here].sum()), int(here.sum())


def has_qber(run, basis, qber):
    return within_3_sigma(*errors_in(run, basis), qber)
