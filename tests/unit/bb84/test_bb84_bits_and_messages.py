from dataclasses import fields

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkde.bb84.bits import pack, unpack
from qkde.bb84.errors import MalformedMessage
from qkde.bb84.messages import MESSAGE_KINDS, AskParities, PrepareFrame, StartPass, StartRound, decode, encode
from qkde.bb84.pads import PadOffer
from qkde.bb84.parameters import RoundParameters

from bb84_simulated_link import BLOCK_ID, round_parameters

_EXAMPLES = {
    str: BLOCK_ID, int: 7, bool: True, bytes: b"\x00\xff", RoundParameters: round_parameters(),
    PadOffer: PadOffer("a key", 3, 9), tuple[int, ...]: (3, 0, 2**32 - 1),
}  # fmt: skip
EVERY_KIND = [kind(*(_EXAMPLES[item.type] for item in fields(kind))) for kind in MESSAGE_KINDS.values()]


@given(st.lists(st.integers(0, 1), max_size=70))
def test_bits_survive_packing(bits):
    assert unpack(pack(np.array(bits, np.uint8)), len(bits)).tolist() == bits


@pytest.mark.parametrize(("data", "bit_count"), [(b"\x80", 9), (b"\x80\x00", 8), (b"\x81", 7), (b"", 1), (b"\0", 0)])
def test_bits_have_one_encoding_only(data, bit_count):
    with pytest.raises(MalformedMessage):
        unpack(data, bit_count)


@pytest.mark.parametrize("message", EVERY_KIND, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message):
    assert decode(encode(message)) == message


@pytest.mark.parametrize("message", EVERY_KIND, ids=lambda message: type(message).__name__)
def test_a_message_with_a_field_missing_added_or_of_another_type_is_malformed(message):
    name, *values = msgpack.unpackb(encode(message))
    bad = [[name, *values, 0]]
    for place in range(len(values)):
        bad.append([name, *values[:place], *values[place + 1 :]])
        bad += [[name, *values[:place], wrong, *values[place + 1 :]] for wrong in (None, -1, 2**40, 0.5, [], {})]
    for candidate in bad:
        with pytest.raises(MalformedMessage):
            decode(msgpack.packb(candidate))


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_malformed_and_nothing_else(data):
    with pytest.raises(MalformedMessage):
        decode(data)


def test_true_is_not_a_number_and_a_number_is_not_true():
    with pytest.raises(MalformedMessage, match="frame must be an integer"):
        decode(msgpack.packb(["PrepareFrame", True]))
    with pytest.raises(MalformedMessage, match="half_frame must be true or false"):
        decode(msgpack.packb(["StartPass", 0, 1, 1, b""]))


def test_a_longer_encoding_of_the_same_message_is_malformed():
    assert decode(b"\x92\xacPrepareFrame\x05") == PrepareFrame(5)
    with pytest.raises(MalformedMessage, match="canonical"):
        decode(b"\x92\xacPrepareFrame\xcc\x05")  # 5 as uint8 instead of fixint


def test_what_follows_a_message_makes_it_malformed():
    with pytest.raises(MalformedMessage):
        decode(encode(StartPass(0, 4, False, bytes(16))) + b"\0")


def test_a_block_id_must_be_a_uuid_in_lower_case():
    for block_id in ("seven", "0000000000000000000000000000000A", BLOCK_ID[:-1] + "A"):
        with pytest.raises(MalformedMessage):
            decode(encode(StartRound(block_id, "a-b", "kme-a", round_parameters())))


def test_impossible_parameters_on_the_wire_name_the_parameter():
    encoded = msgpack.unpackb(encode(StartRound(BLOCK_ID, "a-b", "kme-a", round_parameters())))
    encoded[4][3] = 0.7
    with pytest.raises(MalformedMessage, match="qber_tolerance must lie between 0 and 0.5"):
        decode(msgpack.packb(encoded))


def test_the_text_of_an_error_does_not_quote_the_message():
    with pytest.raises(MalformedMessage) as caught:
        decode(encode(AskParities(0, b"hush"))[:-1])
    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__
