"""A link of a running network is tuned: its physics change under it, and somebody watches."""

import json
import signal
import subprocess

from running_lab import LOW_WATERMARK, QKD_LAB, eventually


def test_noise_that_is_too_much_stops_the_keys_and_reset_brings_them_back(lab):
    lab.wait_for_keys()
    started = json.loads(lab.command("link", "show", "a-b", "--json"))
    watch = subprocess.Popen([*QKD_LAB, "link", "watch", "a-b", "--json"], cwd=lab.folder, text=True, stdout=-1)
    seen = (json.loads(line) for line in watch.stdout)  # what the watcher was shown, as it came
    try:
        lab.command("link", "set", "a-b", "--depolarizing", "0.3")
        earlier = _newest(lab)
        spoilt = eventually(lambda: _newest(lab, "aborted", after=earlier), "a round that the noise spoils")
        # 7 sigma of the test basis's some 8,300 bits.
        assert abs(spoilt["qber"] - 0.15) < 0.028 and spoilt["qber_test"] > spoilt["qber_tolerance"]
        assert "over the tolerance" in spoilt["abort_reason"] and spoilt["secret_bits_per_s"] == 0

        lab.command("link", "reset", "a-b")
        assert _settings(json.loads(lab.command("link", "show", "a-b", "--json"))) == _settings(started)
        good = eventually(lambda: _newest(lab, "key", after=spoilt), "a round with a key again")
        assert good["qber"] < good["qber_tolerance"] and good["secret_bits_per_s"] > 0
        lab.wait_for_keys(500)
        views = list(_until_keys_again(seen))
    finally:
        lab.command("link", "reset", "a-b")
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=30)
    assert watch.returncode == 0
    outcomes = [view["round"]["outcome"] for view in views if view["round"]]
    assert "aborted" in outcomes and outcomes[-1] == "key"
    assert all(view["pools"] for view in views if not view["away"])
    assert {0.3, started["depolarizing"]} <= {view["physics"]["depolarizing"] for view in views if view["physics"]}


def test_a_stopped_link_orders_no_round_until_it_is_resumed(lab):
    lab.wait_for_keys(LOW_WATERMARK)
    lab.command("link", "stop", "a-b")
    try:
        assert json.loads(lab.command("link", "show", "a-b", "--json"))["stopped"] is True
        eventually(lambda: lab.enc_keys("sae-a", "sae-b", "kme-a", number=100).status_code == 503, "an empty pool")
        eventually(lambda: _last_round(lab)["outcome"], "the end of the round that ran")
        views = [json.loads(line) for line in lab.command("link", "watch", "a-b", "--json", "--for", "2").splitlines()]
        ((earlier, _),) = {(view["round"]["block_id"], view["stopped"]): None for view in views}
    finally:
        lab.command("link", "resume", "a-b")
    eventually(lambda: (_newest(lab, "key") or {}).get("block_id") != earlier, "a round with a key again")
    lab.wait_for_keys(LOW_WATERMARK)


def _until_keys_again(seen):
    """The views of a watcher up to the first that shows a key after a round without one."""
    aborted = False
    for view in seen:
        yield view
        outcome = view["round"] and view["round"]["outcome"]
        if aborted and outcome == "key":
            return
        aborted |= outcome == "aborted"


def _newest(lab, outcome=None, after=None):
    """The newest round, if it is another and ended so; keys are taken meanwhile, as full pools order none."""
    lab.enc_keys("sae-a", "sae-b", "kme-a", number=100)
    newest = json.loads(lab.command("link", "watch", "a-b", "--json", "--count", "1"))["round"]
    return newest if newest and newest != after and outcome in (None, newest["outcome"]) else None


def _last_round(lab):
    """The newest that the link has begun."""
    (row,) = json.loads(lab.command("link", "rounds", "a-b", "--count", "1", "--json"))
    return row


def _settings(shown):
    return {name: value for name, value in shown.items() if "measured" not in name and "per_second" not in name}
