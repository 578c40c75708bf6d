"""The reproducible mode of a QKDE: by owner and number of the round, and never the same at the two ends."""

from qkde.node.seeded import SeededRounds


def first_bits(rounds, owner):
    return rounds(owner).bits(256).tobytes()


def test_a_round_has_the_same_randomness_at_every_run_whoever_orders_between():
    one, other = SeededRounds(7, "qkde-a", "a-b"), SeededRounds(7, "qkde-a", "a-b")
    wanted = [first_bits(one, "kme-a"), first_bits(one, "kme-a")]
    first_bits(other, "kme-b")
    got = [first_bits(other, "kme-a")]
    first_bits(other, "kme-b")
    assert [*got, first_bits(other, "kme-a")] == wanted


def test_rounds_owners_ends_links_and_seeds_have_randomness_of_their_own():
    rounds = SeededRounds(7, "qkde-a", "a-b")
    found = [first_bits(rounds, "kme-a"), first_bits(rounds, "kme-a"), first_bits(rounds, "kme-b")]
    for other in ((7, "qkde-b", "a-b"), (7, "qkde-a", "a-c"), (8, "qkde-a", "a-b")):
        found.append(first_bits(SeededRounds(*other), "kme-a"))
    assert len(set(found)) == 6
