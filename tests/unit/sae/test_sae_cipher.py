"""Both modes, there and back, and against whoever changes a message on its way."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae_demo.cipher import (
    AES_256_GCM,
    MODES,
    ONE_TIME_PAD,
    TAG_BYTES,
    CipherError,
    Sealed,
    bound_to,
    key_count,
    seal,
    unseal,
)

BOUND = bound_to(AES_256_GCM, "sae-a", "sae-b", ["id"])


def keys_for(mode, text, seed=7):
    return [random.Random(f"{seed}-{n}").randbytes(32) for n in range(key_count(mode, len(text)))]


@given(text=st.binary(min_size=0, max_size=200), bound=st.binary(max_size=50), mode=st.sampled_from(MODES))
def test_a_text_comes_back_as_it_was(text, bound, mode):
    keys = keys_for(mode, text)
    assert unseal(mode, keys, seal(mode, keys, text, bound), bound) == text


@pytest.mark.parametrize("mode", MODES)
def test_any_flipped_bit_of_a_ciphertext_or_its_tag_is_found(mode):
    text = b"attack at dawn" * 4
    keys = keys_for(mode, text)
    sealed = seal(mode, keys, text, BOUND)
    for index in range(len(sealed.ciphertext)):
        changed = bytearray(sealed.ciphertext)
        changed[index] ^= 1
        with pytest.raises(CipherError, match="changed on its way"):
            unseal(mode, keys, Sealed(bytes(changed), sealed.nonce), BOUND)


@pytest.mark.parametrize("mode", MODES)
def test_a_message_passed_off_as_anothers_is_found(mode):
    keys = keys_for(mode, b"text")
    sealed = seal(mode, keys, b"text", bound_to(mode, "a", "b", ["1", "2"]))
    for other in [(mode, "x", "b", ["1", "2"]), (mode, "a", "x", ["1", "2"]), (mode, "a", "b", ["2", "1"])]:
        with pytest.raises(CipherError, match="changed on its way"):
            unseal(mode, keys, sealed, bound_to(*other))


@pytest.mark.parametrize("mode", MODES)
def test_other_keys_do_not_open_a_message(mode):
    sealed = seal(mode, keys_for(mode, b"text"), b"text", BOUND)
    with pytest.raises(CipherError, match="other keys"):
        unseal(mode, keys_for(mode, b"text", seed=8), sealed, BOUND)


def test_ids_do_not_run_into_each_other():
    assert bound_to("m", "a", 'b","c', ["1"]) != bound_to("m", 'a","b', "c", ["1"])
    assert bound_to("m", "a", "b", ["1,2"]) != bound_to("m", "a", "b", ["1", "2"])


def test_bytes_moved_between_what_is_bound_and_the_ciphertext_are_found():
    keys = keys_for(ONE_TIME_PAD, b"abcd")
    sealed = seal(ONE_TIME_PAD, keys, b"abcd", b"bound")
    with pytest.raises(CipherError, match="changed on its way"):
        unseal(ONE_TIME_PAD, keys, Sealed(sealed.ciphertext[1:]), b"bound" + sealed.ciphertext[:1])


@pytest.mark.parametrize(("text_bytes", "count"), [(1, 2), (32, 2), (33, 3), (64, 3), (1024, 33)])
def test_the_pad_is_as_long_as_the_text_and_the_tag_has_a_key_of_its_own(text_bytes, count):
    assert key_count(ONE_TIME_PAD, text_bytes) == count
    keys = [random.Random(n).randbytes(32) for n in range(count)]
    sealed = seal(ONE_TIME_PAD, keys, bytes(text_bytes), BOUND)
    # Zeros under a pad are the pad itself: every bit of it is a bit of a key that the tag does not use.
    assert sealed.ciphertext[:-TAG_BYTES] == b"".join(keys[1:])[:text_bytes]
    assert sealed.nonce is None


@pytest.mark.parametrize("mode", MODES)
def test_too_few_too_many_or_short_keys_are_refused(mode):
    keys = keys_for(mode, b"text")
    for wrong in ([], keys[:-1], [*keys, keys[0]], [key[:16] for key in keys]):
        with pytest.raises(CipherError, match="256 bits"):
            seal(mode, wrong, b"text", BOUND)


@pytest.mark.parametrize(("mode", "nonce"), [(AES_256_GCM, None), (AES_256_GCM, bytes(8)), (ONE_TIME_PAD, bytes(12))])
def test_a_nonce_that_does_not_fit_the_mode_is_refused(mode, nonce):
    keys = keys_for(mode, b"text")
    with pytest.raises(CipherError, match="nonce"):
        unseal(mode, keys, Sealed(seal(mode, keys, b"text", BOUND).ciphertext, nonce), BOUND)


def test_an_unknown_mode_is_refused():
    with pytest.raises(CipherError, match="expected one of aes-256-gcm, one-time-pad"):
        key_count("rot13", 5)
