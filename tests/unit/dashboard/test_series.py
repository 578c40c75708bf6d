"""Memory of the plots, the rates and the feed: all of it has an end."""

from qkd_lab.dashboard.series import KEPT_S, WINDOW_S, Newest, Rate, Series


def test_a_series_keeps_ten_minutes_and_forgets_what_is_gone():
    series = Series()
    for second in range(KEPT_S + 5):
        series.add({"a": [second, 1], "b": [second, 2]})
    series.add({"a": [KEPT_S + 5, 1]})
    kept = series.all()
    assert list(kept) == ["a"] and len(kept["a"]) == KEPT_S and kept["a"][-1] == [KEPT_S + 5, 1]


def test_a_rate_is_the_mean_of_its_window():
    rate = Rate()
    rate.add(0.0, 30)
    rate.add(5.0, 20)
    assert rate.per_s(5.0) == 50 / WINDOW_S
    assert rate.per_s(WINDOW_S) == 20 / WINDOW_S
    assert rate.per_s(5.0 + WINDOW_S) == 0


def test_each_event_is_new_once_and_the_newest_are_kept():
    newest = Newest(3)
    assert newest.add([{"id": "1"}, {"id": "2"}]) == [{"id": "1"}, {"id": "2"}]
    assert newest.add([{"id": "2"}, {"id": "3"}, {"id": "4"}]) == [{"id": "3"}, {"id": "4"}]
    assert newest.all() == [{"id": "2"}, {"id": "3"}, {"id": "4"}]
    for number in range(1000):
        newest.add([{"id": f"x{number}"}])
    assert len(newest._ids) == len(newest._known) <= 12
