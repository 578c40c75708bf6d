"""What a quantum link measured, and nature's settings: ground truth, for operators alone."""

from __future__ import annotations

from qkde.link.quantum_link import QuantumLink

from .metrics import Asked, LookedUp, Samples

LINK = LookedUp(
    qkd_qlink_measured_frames_total=("Frames that were measured since the start.", ("link",)),
    qkd_qlink_measured_pulses_total=("Pulses in them.", ("link",)),
    qkd_qlink_pulses_per_second=("Pulses that Aer simulates per second of its own time.", ("link",)),
    qkd_qlink_loss_decibels=("Loss of the fibre.", ("link",)),
    qkd_qlink_depolarizing_ratio=("Depolarizing probability of a pulse.", ("link",)),
    qkd_qlink_eve_present=("Whether Eve is on the link.", ("link",)),
)


def link_metrics(link: QuantumLink) -> Asked:
    def values() -> Samples:
        name, measured, physics = (link.name,), link.measured, link.physics.settings()
        yield "qkd_qlink_measured_frames_total", name, measured.frame_count
        yield "qkd_qlink_measured_pulses_total", name, measured.pulse_count
        if measured.pulses_per_second is not None:
            yield "qkd_qlink_pulses_per_second", name, measured.pulses_per_second
        yield "qkd_qlink_loss_decibels", name, physics["loss_db"]
        yield "qkd_qlink_depolarizing_ratio", name, physics["depolarizing"]
        yield "qkd_qlink_eve_present", name, float(physics["eve"] != "none")

    return Asked(LINK, values)
