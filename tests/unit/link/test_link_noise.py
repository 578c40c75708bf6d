"""Every noise against theory, in each basis. Seeds are fixed; limits are three standard deviations."""

import math
import subprocess
import sys

import pytest
from link_runs import has_qber, sent_through

from qkde.link.noise import NAMES, Disturbance, ImpossibleNoise, Noise, NoiseFromFile, noise_as_text, noise_from_text
from qkde.link.physics import ImpossiblePhysics, LinkPhysics
from qkde.link.theory import photon_error_rate

DAMPED = (1 - math.sqrt(0.8)) / 2
IN_Z_AND_X = {
    "depolarizing:0.2": (0.1, 0.1),  # Qiskit's: the qubit is replaced with probability p, and then wrong half the time
    "bit_flip:0.1": (0.1, 0.0),
    "phase_flip:0.1": (0.0, 0.1),
    "amplitude_damping:0.2": (0.1, DAMPED),  # only ones decay
    "phase_damping:0.2": (0.0, DAMPED),
    "pauli:0.05/0.02/0.1": (0.07, 0.12),
    "bit_flip:0.1,phase_flip:0.2": (0.1, 0.2),
    "bit_flip:0.1,bit_flip:0.1": (0.18, 0.0),
}


@pytest.mark.parametrize(("noise", "qbers"), IN_Z_AND_X.items())
def test_a_noise_gives_the_qber_of_theory_in_each_basis(noise, qbers):
    physics = LinkPhysics().changed(noise=noise)
    run = sent_through(physics, seed=31)
    for basis, qber in enumerate(qbers):
        assert has_qber(run, basis, qber), basis
        assert photon_error_rate(physics.disturbance, basis) == pytest.approx(qber, abs=1e-9)


def test_no_noise_is_left_out():
    assert {name.partition(":")[0] for name in IN_Z_AND_X} == set(NAMES)


def test_amplitude_damping_makes_zeros_of_ones_and_no_ones_of_zeros():
    run = sent_through(LinkPhysics().changed(noise="amplitude_damping:0.3"), seed=32)
    in_z = run.wrong & (run.bases == 0)
    assert in_z.sum() > 1_000 and run.bits[in_z].all()


@pytest.mark.parametrize("misalignment", [0.033, 0.5])
def test_misalignment_is_the_qber_of_both_bases(misalignment):
    run = sent_through(LinkPhysics(misalignment=misalignment), seed=33)
    assert has_qber(run, 0, misalignment) and has_qber(run, 1, misalignment)


def test_misalignment_and_noise_add_up_as_errors_do():
    run = sent_through(LinkPhysics(misalignment=0.1, depolarizing=0.1), seed=34)
    assert has_qber(run, 0, 0.1 * 0.9 + 0.05) and has_qber(run, 1, 0.1 * 0.9 + 0.05)


@pytest.mark.parametrize(
    "program",
    [
        "from qiskit_aer.noise import pauli_error\nnoise = pauli_error([('X', 0.1), ('I', 0.9)])",
        "import numpy as np\nnoise = [np.sqrt(0.9) * np.eye(2), np.sqrt(0.1) * np.array([[0, 1], [1, 0]])]",
    ],
)
def test_a_users_own_error_is_read_from_a_python_file(tmp_path, program):
    (tmp_path / "noise.py").write_text(program)
    physics = LinkPhysics().changed(noise=(NoiseFromFile.load(tmp_path / "noise.py"),))
    run = sent_through(physics, seed=35)
    assert has_qber(run, 0, 0.1) and has_qber(run, 1, 0.0)
    assert physics.settings()["noise"] == f"file:{tmp_path / 'noise.py'}"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("x = 1", "expected a QuantumError"),
        ("noise = 'depolarizing'", "expected a QuantumError"),
        ("import numpy\nnoise = [numpy.eye(2) * 2]", "trace-preserving"),
        ("import numpy\nnoise = [numpy.eye(4)]", "acts on 2 qubits: expected 1"),
        ("this is no python", "does not run: SyntaxError"),
        ("1 / 0", "does not run: ZeroDivisionError"),
        ("raise SystemExit", "does not run: SystemExit"),
    ],
)
def test_a_file_that_is_no_noise_is_refused_in_words(tmp_path, program, words):
    (tmp_path / "noise.py").write_text(program)
    with pytest.raises(ImpossibleNoise, match=words):
        NoiseFromFile.load(tmp_path / "noise.py")


def test_a_noise_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ImpossibleNoise, match="no such file"):
        NoiseFromFile.load(tmp_path / "none.py")


@pytest.mark.parametrize("text", ["none", "bit_flip:0.1", "pauli:0.1/0/0.25,depolarizing:0.5"])
def test_noise_says_itself_in_the_text_that_makes_it(text):
    assert noise_as_text(noise_from_text(text)) == text


@pytest.mark.parametrize(
    "text",
    ["bit_flip", "bit_flip:x", "bit_flip:1.1", "bit_flip:-0.1", "bit_flip:nan", "bit_flip:0.1/0.1", "pauli:0.1",
     "pauli:0.5/0.5/0.5", "fog:0.1", "bit_flip:0.1,", "file:/etc/passwd"],
)  # fmt: skip
def test_a_noise_that_is_none_is_refused_with_what_is_expected(text):
    with pytest.raises(ImpossiblePhysics, match="noise: .*expected"):
        LinkPhysics().changed(noise=text)


def test_noise_is_described_without_loading_qiskit():
    program = (
        "import sys; from qkde.link.physics import LinkPhysics; "
        "LinkPhysics().changed(noise='bit_flip:0.1').disturbance; sys.exit('qiskit' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_equal_disturbances_share_a_circuit():
    assert Disturbance((Noise("bit_flip", (0.1,)),)) == Disturbance(noise_from_text("bit_flip:0.1"))
