"""Which proof a round's secret length follows from, and that length from what was counted: the same at both ends, and
again for whoever verifies a block's record later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING

from qkde.bb84.decoy_counts import BasisCounts, Intensities
from qkde.bb84.decoy_statistics import ProvenLength
from qkde.bb84.errors import InvalidParameter, RoundFailed
from qkde.bb84.finite_key import phase_error_bound, secret_length
from qkde.bb84.one_decoy import one_decoy_length
from qkde.bb84.two_decoy import two_decoy_length

if TYPE_CHECKING:
    from qkde.bb84.parameters import RoundParameters


@dataclass(frozen=True)
class Proof:
    """`name` for people; `citation` of what was proven."""

    name: str
    citation: str


# By the number of intensities.
PROOFS = {
    0: Proof(
        "single photons, Tomamichel et al. 2012, fixed length",
        "Tomamichel, Lim, Gisin, Renner, Nature Communications 3, 634 (2012)",
    ),
    1: Proof("none: one intensity, no decoys", "none"),
    2: Proof(
        "one decoy, Rusca et al. 2018, corrected, at the counts of the run",
        "Rusca, Boaron, Grünenfelder, Martin, Zbinden, Appl. Phys. Lett. 112, 171104 (2018), as corrected by "
        "Wiesemann, Krause, Tupkary, Lütkenhaus, Rusca, Walenta, arXiv 2405.16578 v3",
    ),
    3: Proof(
        "two decoys, Lim et al. 2014, at the counts of the run",
        "Lim, Curty, Walenta, Xu, Zbinden, Phys. Rev. A 89, 022307 (2014)",
    ),
}


@dataclass(frozen=True)
class RoundCounts:
    """Detections where both ends had the basis, and errors, by intensity; one element for single photons.

    Errors are None while they are not known: in the test basis until both ends disclose it, in the key basis until Bob
    has corrected them.
    """

    key_detected: tuple[int, ...]
    test_detected: tuple[int, ...]
    key_errors: tuple[int, ...] | None = None
    test_errors: tuple[int, ...] | None = None

    @property
    def key_bits(self) -> int:
        return sum(self.key_detected)

    @property
    def sample_bits(self) -> int:
        return sum(self.test_detected)


def proven_length(parameters: RoundParameters, counts: RoundCounts, leak_bits: int) -> ProvenLength:
    """ℓ before rounding. Raises RoundFailed where the proof does not hold.

    Errors that are not known count as none: an upper bound of what the round can give.

    Clicks without a photon count only where Bob's parities do (`leak_counted` both): in the default accounting Eve is
    given A⊕B, and of a click that she made herself, in place of an empty pulse, she knows B.
    """
    correctness_bits, count = parameters.verification_bits, len(parameters.intensities)
    if count == 0:
        sizes = counts.key_bits, counts.sample_bits
        length = secret_length(
            *sizes,
            qber_tolerance=parameters.qber_tolerance,
            leak_bits=leak_bits,
            epsilon_secrecy=parameters.epsilon_secrecy,
            correctness_bits=correctness_bits,
        )
        bound = phase_error_bound(*sizes, parameters.qber_tolerance, parameters.epsilon_secrecy)
        return ProvenLength(length, 0.0, float(counts.key_bits), bound)
    if count == 1:
        raise RoundFailed("decoy_probability is 0: without decoys nothing bounds the pulses of several photons")
    unknown = (0,) * count
    length_of = one_decoy_length if count == 2 else two_decoy_length
    try:
        proven = length_of(
            BasisCounts(counts.key_detected, counts.key_errors or unknown),
            BasisCounts(counts.test_detected, counts.test_errors or unknown),
            Intensities(parameters.intensities, parameters.intensity_probabilities),
            leak_bits=leak_bits,
            epsilon_secrecy=parameters.epsilon_secrecy,
            correctness_bits=correctness_bits,
        )
    except InvalidParameter as error:
        raise RoundFailed(f"the decoy proof does not hold here: {error}") from error
    if parameters.leak_counted == "both":
        return proven
    return replace(proven, length_bits=proven.length_bits - proven.vacuum_events, vacuum_events=0.0)


def amplified_bits(parameters: RoundParameters, proven: ProvenLength) -> int:
    """What privacy amplification gives, a multiple of 8; 0 when nothing is left."""
    return 8 * max(0, floor(proven.length_bits - parameters.security_margin_bits) // 8)


def announced_bits(counts: RoundCounts) -> int:
    """What `RequestVerification` discloses: for each intensity a number from 0 to its key bits."""
    return sum(detected.bit_length() for detected in counts.key_detected) if counts.key_errors is not None else 0


def leak_bits(parameters: RoundParameters, parities: int, counts: RoundCounts) -> tuple[int, int, int]:
    """(Alice's, both ends', the one that counts): what reconciliation told, see `finite_key`."""
    alice = parities
    both = 2 * parities + announced_bits(counts)  # Bob's part: his own parity of each block he asked about, his counts
    return alice, both, both if parameters.leak_counted == "both" else alice
