"""Files that people write and pass on: topologies, provenance records. What is wrong is said, never a traceback."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from qkd_lab.cli.verify_block import verify_block
from qkd_lab.configuration import ConfigurationError, check, section_problems
from qkd_lab.lab_folder import LabError
from qkd_lab.setting_tables import FAULTS, KME
from qkd_lab.topology import SHIPPED, Topology, TopologyError, load
from qkde.bb84 import provenance

from malformed import FUZZ, NUMBERS, TEXTS, VALUES, bodies, strange_octets, strange_values

VECTORS = Path(__file__).parents[2] / "vectors" / "provenance.json"
RECORDS = json.loads(VECTORS.read_text())["cases"]
TOPOLOGIES = [path.read_bytes() for path in sorted(SHIPPED.glob("*.toml"))]
LINES = [
    b"a = " + b"[" * 100_000, b"a = " + b"9" * 5000, b"a = 1979-05-27T07:32:00Z", b"name = 1e999", b"a.b.c = {}",
    b"[[sites]]\nname = []", b"[kme]\nreserve_bits = " + b"9" * 400,
    b"[kme]\nreserve_bits = 0x" + b"f" * 5000, b"[[sites]]\nname = 0x" + b"f" * 5000, b"[kme]\ndelay_s = nan",
    b"\xff\xfe", b"name = \"\\u0000\"",
    b"[links]", b"sites = [1]", b"links = [[]]", b"[[links]]\nphysics = 1", b"[kme]\n\"\\u0000\" = 1",
    b"[[connections]]\nmaster = {a = 1}", b"[[sites]]\nname = \"a\"\nsaes = [\"\\u0000\", \"\\u001B\"]",
]  # fmt: skip


def toml(value) -> str:
    """A value in a file; what TOML has no form for as a text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(name)} = {toml(part)}' for name, part in value.items())}}}"
    return json.dumps(str(value))


@st.composite
def topologies(draw: st.DrawFn) -> bytes:
    lines = draw(st.sampled_from(TOPOLOGIES)).split(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        name, is_key, _ = lines[place].partition(b"=")
        if is_key and draw(st.booleans()):
            lines[place] = name + b"= " + toml(draw(NUMBERS | VALUES)).encode("utf-8", "surrogatepass")
        else:
            lines[place] = draw(st.sampled_from(LINES) | strange_octets(lines[place]))
    return b"\n".join(lines)


@FUZZ
@given(topologies() | st.binary(max_size=60) | st.sampled_from(LINES))
def test_a_topology_is_one_or_every_line_of_the_refusal_names_the_file(tried, tmp_path, octets):
    path = tmp_path / "net.toml"
    path.write_bytes(octets)
    try:
        assert isinstance(load(path), Topology)
    except TopologyError as error:
        tried.refused()
        assert all(line.startswith(str(path)) for line in str(error).split("\n"))


NAMES = st.sampled_from([setting.name for setting in (*KME, *FAULTS)])


@FUZZ
@given(st.dictionaries(NAMES | TEXTS, VALUES | st.just(1 << 20_000)))
def test_a_table_of_settings_is_good_or_is_refused(tried, table):
    problems = section_problems(table)
    if problems:
        tried.refused()
    assert problems or all(-(2**53) < value < 2**53 for value in table.values())


@FUZZ
@given(
    st.dictionaries(st.sampled_from(["QKD_WORKERS", "QKD_KME_RESERVE_BITS", "QKD_KME_FAULT_DELAY_S"]) | TEXTS, TEXTS)
)
def test_an_environment_is_good_or_is_refused(tried, environ):
    tried.only(
        ConfigurationError, check, {f"QKD_{name}" if name[:4] != "QKD_" else name: environ[name] for name in environ}
    )


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_malformed_or_says_what_does_not_hold(tried, record):
    assert provenance.check(record) == []

    @FUZZ
    @given(strange_values(record))
    def look(strange):
        try:
            found = provenance.check(strange)
        except provenance.MalformedRecord as error:
            tried.refused()
            assert str(error).isprintable() and len(str(error)) < 500
            return
        # The digest covers the whole record: where it holds, nothing was altered.
        assert found or strange == record

    look()


@FUZZ
@given(bodies(RECORDS[0]) | bodies({"block_id": "x", "provenance": RECORDS[0]}))
def test_verify_block_says_in_words_what_is_wrong_with_its_input(tried, octets):
    done = CliRunner().invoke(verify_block, ["-"], input=octets)
    if done.exit_code:
        tried.refused()
        assert isinstance(done.exception, LabError), done.exception
        assert str(done.exception).isprintable()  # it goes to a terminal
