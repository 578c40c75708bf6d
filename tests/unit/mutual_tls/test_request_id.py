"""One id through all that follows from a request."""

import pytest

from mutual_tls import request_id


def test_a_plain_id_is_kept_and_told_to_the_next_process():
    with request_id.begun("from-sae-a.0001") as known_by:
        assert known_by == request_id.current() == "from-sae-a.0001"
        assert request_id.headers() == {"X-Request-ID": "from-sae-a.0001"}
    assert request_id.current() is None and request_id.headers() == {}


@pytest.mark.parametrize(
    "offered", [None, "", "short", "x" * 65, "a blank", "new\nline-in-it", "<script>alert(1)", "key=01234567", "ü" * 9]
)
def test_what_could_spoil_a_log_is_replaced_by_an_id_of_ones_own(offered):
    with request_id.begun(offered) as first, request_id.begun(offered) as second:
        assert first != second != offered
        assert len(first) == 32


def test_an_inner_request_leaves_the_outer_one_as_it_was():
    with request_id.begun("the-outer-one"):
        with request_id.begun("the-inner-one"):
            assert request_id.current() == "the-inner-one"
        assert request_id.current() == "the-outer-one"
