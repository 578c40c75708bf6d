from hashlib import sha256

from qkde.bb84 import pads
from qkde.bb84.messages import AbortNoted, Finish, FramePrepared, PrepareFrame, decode, encode
from qkde.bb84.transcript import Transcript

from bb84_simulated_link import Round


def messages_in(content):
    while content:
        length, content = int.from_bytes(content[:8], "big"), content[8:]
        yield decode(content[:length])
        content = content[length:]


def test_a_transcript_is_every_message_in_order():
    transcript = Transcript()
    transcript.enter(PrepareFrame(0), FramePrepared(0))
    transcript.enter(PrepareFrame(1), AbortNoted(b"x"))
    assert list(messages_in(transcript.content())) == [
        PrepareFrame(0), FramePrepared(0), PrepareFrame(1), AbortNoted(b"x"),
    ]  # fmt: skip
    assert transcript.digest() == sha256(transcript.content()).digest()


def test_another_order_is_another_transcript():
    one, other = Transcript(), Transcript()
    one.enter(PrepareFrame(0), FramePrepared(0))
    other.enter(FramePrepared(0), PrepareFrame(0))
    assert one.digest() != other.digest() and len(encode(PrepareFrame(0))) > 1


def test_the_tags_are_over_everything_that_was_said_before_the_last_exchange(monkeypatch):
    tagged, tag = [], pads.tag
    monkeypatch.setattr(pads, "tag", lambda secret, transcript: tagged.append(transcript) or tag(secret, transcript))
    both = Round()
    assert isinstance(both.channel.log[-2], Finish)
    assert len(tagged) == 4  # both tags at both ends
    for transcript in tagged:
        assert list(messages_in(transcript)) == both.channel.log[:-2]
