"""The README's curl examples without a network: `curl` is a program that answers as a KME does."""

import os
import re
import subprocess
from pathlib import Path

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()
KEY_ID, KEY = "0b6a3f5e-8d2c-4f6e-9a51-7c1d2e3f4a5b", "c2VjcmV0IHNlY3JldCBzZWNyZXQ="
CURL = f"""#!/bin/sh
for url; do :; done
case $url in
    */status) printf '%s' '{{"stored_key_count":7}}' ;;
    */enc_keys | */dec_keys?key_ID={KEY_ID}) printf '%s' '{{"keys":[{{"key_ID":"{KEY_ID}","key":"{KEY}"}}]}}' ;;
    *) exit 22 ;;
esac
"""


def test_the_curl_example_prints_three_answers_and_writes_no_key_to_a_file(tmp_path):
    (example,) = [block for block in re.findall(r"```sh\n(.*?)```", README, re.S) if "curl" in block]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "curl").write_text(CURL)
    (tmp_path / "bin" / "curl").chmod(0o755)
    (tmp_path / "here").mkdir()
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-euc", example], cwd=tmp_path / "here", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    status, taken, fetched = done.stdout.replace("}{", "}\n{").splitlines()
    assert "stored_key_count" in status and taken == fetched and KEY in taken
    assert list((tmp_path / "here").iterdir()) == []
    assert not re.search(r"/tmp|\btee\b|>", example)
