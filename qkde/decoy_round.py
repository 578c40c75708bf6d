"""A round with weak coherent pulses: BB84 with decoy intensities, both ends in memory, for `qkde.simulation`.

Alice draws an intensity for every pulse and announces it after Bob's clicks. All intensities make key; the length comes
from the counts by basis and intensity, with two decoys (Lim et al. 2014) or, where vacuum is never sent, with one
(Rusca et al. 2018 as corrected by Wiesemann et al.): `qkde.rates` has the formulas and their assumptions. They are
evaluated at the counts of the run. Without decoys there is no length, as nothing then bounds the multi-photon pulses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from qkde.bb84.account import RoundAccount
from qkde.bb84.amplification import seed_bit_count, toeplitz_hash
from qkde.bb84.bits import pack
from qkde.bb84.cascade import ParityTeller
from qkde.bb84.cascade_variants import VARIANTS
from qkde.bb84.decoy_counts import BasisCounts, Intensities
from qkde.bb84.decoy_statistics import DecoyLength
from qkde.bb84.errors import Bb84Error, InvalidParameter, RoundFailed
from qkde.bb84.estimation import error_rate, expected_error_rate
from qkde.bb84.messages import Message, StartPass, decode, encode
from qkde.bb84.one_decoy import one_decoy_length
from qkde.bb84.randomness import KEY_BASIS, TEST_BASIS
from qkde.bb84.reconciliation import Corrector
from qkde.bb84.report import RoundReport
from qkde.bb84.two_decoy import two_decoy_length
from qkde.bb84.verification import seed_bytes, universal_hash
from qkde.chance import Chance
from qkde.ground_truth import EveRecord
from qkde.link import aer
from qkde.link.channel import transmit
from qkde.link.physics import LinkPhysics
from qkde.link.source import WeakCoherentPulses
from qkde.link.theory import expected

BASIS_NAMES = {KEY_BASIS: "key", TEST_BASIS: "test"}


class DecoyRound:
    """One round. `run()` gives the report; afterwards `eve`, `proof_allowance_bits` and `intensities()` tell more."""

    def __init__(
        self, account: RoundAccount, physics: LinkPhysics, source: WeakCoherentPulses, ends: Chance, mode: str
    ) -> None:
        self._account, self._parameters = account, account.order.parameters
        self._physics, self._source, self._ends, self._mode = physics, source, ends, mode
        count = len(source.intensities)
        self._pulses, self._clicks = np.zeros(count, int), np.zeros(count, int)
        self._detected, self._errors = ({basis: np.zeros(count, int) for basis in BASIS_NAMES} for _ in range(2))
        self._length: DecoyLength | None = None
        self.eve = EveRecord()

    def run(self) -> RoundReport:
        secret_bits, reason = 0, None
        try:
            secret_bits = self._run()
        except Bb84Error as error:
            reason = error.reason
        report = self._account.report(secret_bits, reason)
        bound = self._length.phase_error_bound if self._length else None
        proof = "one decoy, Rusca et al. 2018, corrected" if self._one_decoy else "two decoys, Lim et al. 2014"
        parameters = {**report.parameters, "proof": f"{proof}, at the counts of the run"}
        return replace(report, phase_error_bound=bound, parameters=parameters)

    @property
    def proof_allowance_bits(self) -> float | None:
        """What the proof takes off the key for Eve: all but vacuum clicks and single photons' 1 − h(φ)."""
        if self._length is None:
            return None
        proof_and_public = self._account.leak_counted + self._parameters.verification_bits
        return self._account.key_bits - self._length.length_bits - proof_and_public

    def intensities(self) -> tuple[dict[str, Any], ...]:
        """Per intensity what was counted, and what theory has for a link on which nobody listens."""
        theory = {basis: expected(self._physics, self._source, basis) for basis in BASIS_NAMES}
        rows = []
        for i, (name, mean) in enumerate(zip(("signal", "decoy", "vacuum"), self._source.intensities, strict=True)):
            row = {
                "name": name,
                "intensity": mean,
                "pulses": int(self._pulses[i]),
                "gain": error_rate(int(self._clicks[i]), int(self._pulses[i])),
                "gain_expected": theory[KEY_BASIS][i].gain,
            }
            for basis, what in BASIS_NAMES.items():
                row[f"detected_{what}"] = int(self._detected[basis][i])
                row[f"qber_{what}"] = error_rate(int(self._errors[basis][i]), int(self._detected[basis][i]))
                row[f"qber_{what}_expected"] = theory[basis][i].error_rate
            rows.append(row)
        return tuple(rows)

    @property
    def _one_decoy(self) -> bool:
        return not self._source.vacuum_probability

    def _run(self) -> int:
        frames = [self._frame() for _ in range(self._parameters.frame_count)]
        alice, bob, choices = (np.concatenate(parts) for parts in zip(*frames, strict=True))
        del frames
        self._account.check_sifted()
        self._account.sample_errors = int(self._errors[TEST_BASIS].sum())
        self._check_sample()
        self._account.spend("estimation")
        self._reconcile(alice, bob)
        self._verify(alice, bob)
        secret_bits = self._secret_bits()
        seed = self._ends.alice.bits(seed_bit_count(len(alice), secret_bits))
        toeplitz_hash(alice, seed, secret_bits)  # the key itself: nobody here needs it
        self._account.spend("amplification")
        return secret_bits

    def _frame(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Alice's and Bob's bits of the key basis, and their intensities."""
        ends, pulses = self._ends, self._parameters.pulses_per_frame
        bits, choices = ends.alice.bits(pulses), self._choices(pulses)
        alice, bob = (end.bases(pulses, self._parameters.key_basis_probability) for end in (ends.alice, ends.bob))
        photons = self._source.photon_numbers(choices, ends.nature)
        sent = transmit(bits, alice, bob, self._physics, ends.nature, photons, self._mode)
        self._account.spend("transmission")
        clicked = sent.clicks == 1
        self._pulses += self._by_intensity(choices)
        self._clicks += self._by_intensity(choices[clicked])
        for basis in BASIS_NAMES:
            sifted = clicked & (alice == basis) & (bob == basis)
            self._detected[basis] += self._by_intensity(choices[sifted])
            self._errors[basis] += self._by_intensity(choices[sifted & (sent.outcomes != bits)])
        key = np.flatnonzero(clicked & (alice == KEY_BASIS) & (bob == KEY_BASIS))
        self.eve.hear(sent.knowledge, bits, KEY_BASIS, aer.ANGLES_DEGREES, key)
        self._account.detected_pulses += int(np.count_nonzero(clicked))
        self._account.key_bits, self._account.sample_bits = (int(self._detected[basis].sum()) for basis in BASIS_NAMES)
        self._account.spend("sifting")
        return bits[key], sent.outcomes[key], choices[key]

    def _choices(self, pulses: int) -> np.ndarray:
        """Indices of intensities, uint8."""
        signal, decoy, vacuum = self._source.probabilities
        # Alice's randomness gives one of two with a probability: first signal or not, then decoy or vacuum.
        not_signal = self._ends.alice.bases(pulses, signal)
        return not_signal * (1 + self._ends.alice.bases(pulses, decoy / (decoy + vacuum) if signal < 1 else 1.0))

    def _by_intensity(self, choices: np.ndarray) -> np.ndarray:
        return np.bincount(choices, minlength=len(self._pulses))

    def _check_sample(self) -> None:
        if not self._source.decoy_probability:
            raise RoundFailed("decoy_probability is 0: without decoys nothing bounds the pulses of several photons")
        qber, tolerance = error_rate(self._account.sample_errors, self._account.sample_bits), self._parameters
        if qber > tolerance.qber_tolerance:
            raise RoundFailed(f"QBER {qber:.3f} in the test basis is over the tolerance {tolerance.qber_tolerance:g}")
        self._secret_bits()  # with no leakage yet: no need to reconcile what can't give a key

    def _reconcile(self, alice: np.ndarray, bob: np.ndarray) -> None:
        """Bob's bits are corrected in place."""
        teller = ParityTeller(alice)

        def ask(message: Message, expected_kind: type | None = None) -> Message:
            question = decode(encode(message))
            told = teller.start_pass(question) if isinstance(question, StartPass) else teller.ask_parities(question)
            return decode(encode(told))

        variant = VARIANTS[self._parameters.reconciliation]
        corrector = Corrector(bob, variant, ask, lambda count: pack(self._ends.bob.bits(8 * count)))
        bob[:] = corrector.run(expected_error_rate(self._account.sample_errors, self._account.sample_bits))
        self._account.disclosed_parities = corrector.disclosed_parities
        self._account.reconciliation_messages = corrector.message_count
        self._account.corrected_count = corrector.corrected_count
        self._account.spend("reconciliation")

    def _verify(self, alice: np.ndarray, bob: np.ndarray) -> None:
        bits = self._account.verification_bits = self._parameters.verification_bits
        seed = pack(self._ends.alice.bits(8 * seed_bytes(bits)))
        hashes = {universal_hash(pack(end), len(end), seed, bits) for end in (alice, bob)}
        self._account.spend("verification")
        if len(hashes) > 1:
            raise RoundFailed("verification failed: the two ends still differ after reconciliation")

    def _secret_bits(self) -> int:
        count = 2 if self._one_decoy else 3
        length: Callable[..., DecoyLength] = one_decoy_length if self._one_decoy else two_decoy_length
        try:
            self._length = length(
                self._counts(KEY_BASIS, count),
                self._counts(TEST_BASIS, count),
                Intensities(self._source.intensities[:count], self._source.probabilities[:count]),
                leak_bits=self._account.leak_counted,
                epsilon_secrecy=self._parameters.epsilon_secrecy,
                correctness_bits=self._parameters.verification_bits,
            )
        except InvalidParameter as error:
            raise RoundFailed(f"the decoy proof does not hold here: {error}") from error
        whole_bytes = int(self._length.length_bits - self._parameters.security_margin_bits) // 8
        if whole_bytes <= 0:
            raise RoundFailed(
                f"no secret bits are left: {self._account.key_bits} key bits, of which at least "
                f"{self._length.single_photon_events:.0f} from single photons, phase error bound "
                f"{self._length.phase_error_bound:.3f}, {self._account.leak_counted} bits leaked in reconciliation"
            )
        return 8 * whole_bytes

    def _counts(self, basis: int, count: int) -> BasisCounts:
        return BasisCounts(*(tuple(found[basis][:count].tolist()) for found in (self._detected, self._errors)))
