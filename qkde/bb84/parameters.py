"""What both ends agree on before a round; nothing of it depends on what the round then sees."""

from dataclasses import dataclass, fields
from math import isfinite

from qkde.bb84.cascade_variants import VARIANTS
from qkde.bb84.decoy_counts import Intensities
from qkde.bb84.errors import InvalidParameter
from qkde.bb84.finite_key import LEAK_COUNTED
from qkde.bb84.pads import PRE_SHARED_PADS
from qkde.bb84.proofs import PROOFS, Proof
from qkde.bb84.verification import VERIFICATION_BITS, collision_bound

RECONCILIATIONS = tuple(VARIANTS)
MAX_PULSES_PER_FRAME = 2**24
MAX_PULSES_PER_ROUND = 2**30


@dataclass(frozen=True)
class RoundParameters:
    """Parameters of one round. Raises InvalidParameter, naming the parameter and its range.

    `qber_tolerance` is the preset Q_tol of the fixed-length proof; `security_margin_bits` are taken off the
    proven length on top; `leak_counted` is explained in `finite_key`. `pads_kept`: pads that a block brings the pool
    back to before the KME gets its share; 0 for a single round that need not pay for its own.
    `intensities`: mean photon numbers of weak coherent pulses, the signal's first, each above the next, and how often
    Alice takes each (signal, decoy, vacuum; or signal and decoy); none for single photons. The proof follows from them.
    """

    pulses_per_frame: int = 1_000_000
    frame_count: int = 1
    key_basis_probability: float = 0.9
    qber_tolerance: float = 0.05
    epsilon_secrecy: float = 1e-10
    epsilon_correctness: float = 1e-15
    verification_bits: int = 89
    security_margin_bits: int = 64
    reconciliation: str = "original"
    leak_counted: str = "alice"
    pads_kept: int = PRE_SHARED_PADS
    intensities: tuple[float, ...] = ()
    intensity_probabilities: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_type(item.name, getattr(self, item.name), item.type)
        _check_range("pulses_per_frame", self.pulses_per_frame, 1, MAX_PULSES_PER_FRAME)
        _check_range("frame_count", self.frame_count, 1, MAX_PULSES_PER_ROUND // self.pulses_per_frame)
        _check_range("security_margin_bits", self.security_margin_bits, 0, 2**31)
        _check_range("pads_kept", self.pads_kept, 0, 2**16)
        _check_open("key_basis_probability", self.key_basis_probability, 0, 1)
        _check_open("qber_tolerance", self.qber_tolerance, 0, 0.5)
        _check_open("epsilon_secrecy", self.epsilon_secrecy, 1e-100, 1)
        _check_open("epsilon_correctness", self.epsilon_correctness, 1e-100, 1)
        _check_choice("verification_bits", self.verification_bits, VERIFICATION_BITS)
        _check_choice("reconciliation", self.reconciliation, RECONCILIATIONS)
        _check_choice("leak_counted", self.leak_counted, LEAK_COUNTED)
        self._check_intensities()
        bound = collision_bound(self.pulses, self.verification_bits)
        if bound > self.epsilon_correctness:
            raise InvalidParameter(
                f"verification_bits {self.verification_bits} lets unequal keys of {self.pulses} pulses pass with "
                f"probability up to {bound:.1e}, over epsilon_correctness {self.epsilon_correctness:g}; "
                f"take more of {VERIFICATION_BITS}"
            )

    @property
    def pulses(self) -> int:
        """Pulses of the whole round."""
        return self.pulses_per_frame * self.frame_count

    @property
    def source(self) -> str:
        """What Alice sends."""
        return "weak-coherent" if self.intensities else "single-photon"

    @property
    def proof(self) -> Proof:
        """The one that the secret length follows from."""
        return PROOFS[len(self.intensities)]

    def _check_intensities(self) -> None:
        count = len(self.intensities)
        if len(self.intensity_probabilities) != count or count > 3:
            raise InvalidParameter(
                f"intensities must be up to 3, with a probability each, not {count} with "
                f"{len(self.intensity_probabilities)}"
            )
        if not count:
            return
        if not 0 < self.intensities[0] <= 10:
            raise InvalidParameter(f"signal_intensity is {self.intensities[0]:g}: expected above 0, up to 10")
        Intensities(self.intensities, self.intensity_probabilities)


def _check_type(name: str, value: object, expected: type) -> None:
    # A bool is an int to Python, and 1 is a fine float to a person: neither is what the other end would encode.
    if expected == tuple[float, ...]:
        if type(value) is not tuple or any(type(item) is not float or not isfinite(item) for item in value):
            raise InvalidParameter(f"{name} must be floats, not {value!r}")
    elif type(value) is not expected:
        raise InvalidParameter(f"{name} must be a {expected.__name__}, not {value!r}")


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidParameter(f"{name} must be from {low} to {high}, not {value}")


def _check_open(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise InvalidParameter(f"{name} must lie between {low} and {high} (both excluded), not {value}")


def _check_choice(name: str, value: object, choices: tuple) -> None:
    if value not in choices:
        raise InvalidParameter(f"{name} must be one of {', '.join(map(str, choices))}, not {value}")
