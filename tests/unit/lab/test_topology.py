"""The topology file: what it gives, and what it says about a file that is wrong."""

from dataclasses import asdict, astuple, fields, replace
from pathlib import Path

import pytest

from kme import model
from qkd_lab import topology_fields as limits
from qkd_lab.processes import processes
from qkd_lab.topology import SHIPPED, Connection, Physics, Source, TopologyError, load
from qkd_lab.topology_fields import PHYSICS, SOURCE
from qkde import parameter_sets
from qkde.link.physics import LinkPhysics
from qkde.parameter_sets.keys import SOURCES, TABLES
from qkde.parameter_sets.rounds import round_parameters

GOOD = """
[[sites]]
name = "a"
saes = ["sae-a"]

[[sites]]
name = "b"
saes = ["sae-b"]

[[links]]
name = "a-b"
alice = "a"
bob = "b"
physics = { loss_db = 2 }

[[connections]]
master = "sae-a"
slave = "sae-b"
"""


def file_with(tmp_path, text):
    path = tmp_path / "net.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_lab_has_two_sites_and_connections_in_both_directions():
    topology = load(SHIPPED / "two-sites.toml")
    assert [(site.kme_id, site.qkde_id, site.saes) for site in topology.sites] == [
        ("kme-a", "qkde-a", ("sae-a",)),
        ("kme-b", "qkde-b", ("sae-b",)),
    ]
    assert topology.connections == (Connection("sae-a", "sae-b"), Connection("sae-b", "sae-a"))
    assert topology.connections[0].key_size_bits == 256 and topology.connections[0].max_keys == 1000
    (link,) = topology.links
    assert (link.name, link.alice, link.bob) == ("a-b", "a", "b")
    assert link.physics == Physics(1.0, 0.02, "none")
    assert (link.protocol.pulses_per_frame, link.protocol.qber_tolerance) == (1 << 20, 0.04)


def test_every_shipped_topology_loads():
    names = [load(path).name for path in SHIPPED.glob("*.toml")]
    assert sorted(names) == ["decoys", "decoys-long-rounds", "three-sites", "two-sites", "two-sites-directory"]


def test_what_is_left_out_has_defaults(tmp_path):
    topology = load(file_with(tmp_path, GOOD))
    assert topology.name == "net"
    assert topology.links[0].physics == replace(Physics(), loss_db=2)


def test_a_link_is_found_by_either_of_its_ends():
    topology = load(SHIPPED / "three-sites.toml")
    assert [link.name for link in topology.links_of("b")] == ["a-b", "b-c"]
    assert topology.site_of_sae("sae-c").name == "c"
    assert topology.links[0].joins("b", "a") and not topology.links[0].joins("a", "c")


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("[[sites]]", "[[places]]", ["top level", "places", "unknown", "sites"]),
        ("loss_db = 2", "loss_db = -1", ["links[a-b].physics", "loss_db", "0 to 1000", "-1"]),
        ("loss_db = 2", "loss_db = true", ["loss_db", "True"]),
        ("loss_db = 2", "loss_db = nan", ["loss_db", "nan"]),
        ("loss_db = 2", "los_db = 2", ["links[a-b].physics", "los_db", "unknown", "loss_db"]),
        ("loss_db = 2", 'eve = "mallory"', ["eve", "intercept-resend:FRACTION", "mallory"]),
        ("loss_db = 2", 'eve = "intercept-resend:1.5"', ["eve", "0 to 1"]),
        ("physics = {", "protocol = { qber_tolerance = 0.6, frame_count = 1 }\nphysics = {", ["qber_tolerance", "0.5"]),
        (
            "physics = {",
            "protocol = { pulses_per_frame = 1e6 }\nphysics = {",
            ["pulses_per_frame", "integer", "1000000.0"],
        ),
        ('alice = "a"\n', "", ["links[a-b]", "alice", "missing"]),
        ('bob = "b"', 'bob = "z"', ["links[a-b]", "bob", "a, b", "'z'"]),
        ('bob = "b"', 'bob = "a"', ["links[a-b]", "bob", "another site"]),
        ('name = "b"', 'name = "a"', ["sites", "name", "once", "'a'"]),
        ('name = "b"', 'name = "B!"', ["sites[B!]", "name", "a-z"]),
        ('name = "b"', 'name = "b"\nsaes = []', ["not a TOML file"]),
        ('saes = ["sae-b"]', 'saes = ["sae-a"]', ["saes", "once", "sae-a"]),
        ('saes = ["sae-b"]', 'saes = "sae-b"', ["sites[b]", "saes", "list"]),
        ('saes = ["sae-b"]', 'saes = ["sae-b", "kme-a"]', ["sites[b]", "saes", "kme-a"]),
        ('saes = ["sae-b"]', 'saes = ["sae-b", "sae-b-app"]', ["saes", "sae-b-app"]),
        ('saes = ["sae-b"]', 'saes = ["sae-b", ".."]', ["saes", "'..'"]),
        ('slave = "sae-b"', 'slave = "sae-x"', ["connections[1]", "slave", "sae-a, sae-b", "sae-x"]),
        (
            'slave = "sae-b"',
            'slave = "sae-b"\nkey_size_bits = 12',
            ["connections[1]", "key_size_bits", "multiple of 8", "12"],
        ),
        ('slave = "sae-b"', 'slave = "sae-b"\nkey_size_bits = 4104', ["key_size_bits", "8 to 4096", "4104"]),
        ('slave = "sae-b"', 'slave = "sae-b"\nmax_keys = 0', ["max_keys", "1 to 100000", "got 0"]),
        ('slave = "sae-b"', 'slave = "sae-b"\nmax_keys = 100001', ["max_keys", "1 to 100000", "100001"]),
        (
            'slave = "sae-b"',
            'slave = "sae-b"\nmax_keys = 2000\nmax_keys_per_request = 1001',
            ["connections[1]", "max_keys_per_request", "1 to 1000", "1001"],
        ),
        (
            'slave = "sae-b"',
            'slave = "sae-b"\nmax_keys = 50\nmax_keys_per_request = 51',
            ["connections[1]", "max_keys_per_request", "1 to max_keys", "50", "got 51"],
        ),
        ('slave = "sae-b"', 'slave = "sae-b"\nmax_sae_ids = 33', ["connections[1]", "max_sae_ids", "0 to 32", "33"]),
        ("[[sites]]", 'doors = ["quick", "front"]\n[[sites]]', ["top level", "doors", "quick, life-cycle, entropy"]),
        ("[[sites]]", 'doors = ["quick", "quick"]\n[[sites]]', ["top level", "doors", "once"]),
        ('saes = ["sae-b"]', 'kme_names = ["kme-a"]', ["sites", "kme_names", "once", "'kme-a'"]),
        ('saes = ["sae-b"]', 'kme_names = "x"', ["sites[b]", "kme_names", "a list of names"]),
        ("physics = {", 'origin = "files"\nphysics = {', ["links[a-b]", "origin", "bb84 or directory", "'files'"]),
        ("physics = {", 'origin = "directory"\nphysics = {', ["links[a-b]", "physics", "where origin is directory"]),
        ("physics = {", "delete_after_reading = true\nphysics = {", ["delete_after_reading", "where origin is bb84"]),
        ("physics = { loss_db = 2 }", 'origin = "directory"\nfolders = { a = "keys" }', ["folders", "absolute"]),
        ("physics = { loss_db = 2 }", 'origin = "directory"\nfolders = { c = "/k" }', ["folders", "a, b", "'c'"]),
        (
            "physics = { loss_db = 2 }",
            'origin = "directory"\nfolders = { a = "/k", b = "/k" }',
            ["links[a-b]", "folders", "once", "'/k'"],
        ),
        (
            "[[connections]]",
            '[[connections]]\nmaster = "sae-a"\nslave = "sae-b"\n[[connections]]',
            ["connections", "sae-a to sae-b", "once"],
        ),
    ],
)
def test_an_error_names_the_file_the_place_and_what_was_expected(tmp_path, old, new, words):
    assert old in GOOD
    at = GOOD.rindex(old) if old.startswith(("name", "slave", "saes")) else GOOD.index(old)
    path = file_with(tmp_path, GOOD[:at] + new + GOOD[at + len(old) :])
    with pytest.raises(TopologyError) as error:
        load(path)
    for word in [str(path), *words]:
        assert word in str(error.value)


@pytest.mark.parametrize("max_keys, per_request", [(50, 50), (128, 128), (2000, 128)])
def test_a_request_may_have_128_keys_or_the_whole_of_a_smaller_pool(tmp_path, max_keys, per_request):
    (connection,) = load(file_with(tmp_path, f"{GOOD}max_keys = {max_keys}\n")).connections
    assert (connection.max_keys, connection.max_keys_per_request) == (max_keys, per_request)


def test_the_limits_of_a_connection_are_those_of_the_kme():
    sizes = limits.KEY_SIZE_BITS
    assert (sizes[0], sizes[-1], sizes.step) == (model.MIN_KEY_SIZE_BITS, model.MAX_KEY_SIZE_BITS, 8)
    assert (limits.MAX_KEYS[0], limits.MAX_KEYS[-1]) == (1, model.MAX_POOL_KEY_COUNT)
    assert (limits.MAX_SAE_IDS[0], limits.MAX_SAE_IDS[-1]) == (0, model.MAX_ADDITIONAL_SLAVES)
    assert (limits.MAX_KEYS_PER_REQUEST[0], limits.MAX_KEYS_PER_REQUEST[-1]) == (1, model.MAX_KEYS_PER_REQUEST)


def test_the_doors_are_those_of_the_kme_and_all_are_open_unless_told_otherwise(tmp_path):
    assert limits.DOORS == model.DOORS
    assert load(file_with(tmp_path, GOOD)).doors == model.DOORS
    assert load(file_with(tmp_path, f'doors = ["quick"]\n{GOOD}')).doors == ("quick",)
    assert load(file_with(tmp_path, f"doors = []\n{GOOD}")).doors == ()


def test_a_link_with_folders_has_no_quantum_link_and_its_sites_no_qkde():
    topology = load(SHIPPED / "two-sites-directory.toml")
    (link,) = topology.links
    assert (topology.quantum_links, link.delete_after_reading) == ((), True)
    kinds = {process.kind for process in processes(topology)}
    assert kinds == {"postgres", "redis", "kme", "scheduler", "sae", "dashboard"}
    assert link.folder_at("a", Path("/lab/keys")) == Path("/lab/keys/a-b/a")


def test_a_site_with_both_kinds_of_links_has_a_qkde(tmp_path):
    more = '[[sites]]\nname = "c"\n[[links]]\nname = "b-c"\nalice = "b"\nbob = "c"\norigin = "directory"\n'
    topology = load(file_with(tmp_path, GOOD + more + 'folders = { b = "/srv/keys" }\n'))
    names = {process.name for process in processes(topology)}
    assert {"qkde-a", "qkde-b", "qlink-a-b"} <= names and not {"qkde-c", "qlink-b-c"} & names
    assert topology.link("b-c").folder_at("b", Path("/keys")) == Path("/srv/keys")
    assert topology.link("b-c").folder_at("c", Path("/keys")) == Path("/keys/b-c/c")


def test_a_connection_that_names_no_sizes_has_those_of_the_kme():
    of_the_kme = model.Connection("kme-a", "kme-b", "sae-a", "sae-b")
    assert astuple(Connection("sae-a", "sae-b"))[2:] == (
        of_the_kme.key_size_bits,
        of_the_kme.max_key_count,
        of_the_kme.max_key_per_request,
        of_the_kme.max_sae_id_count,
    )


def test_a_name_is_looked_for_in_tables_only_where_it_belongs(tmp_path):
    """`name = "b"` above replaces the last one; links and sites are told apart."""
    with pytest.raises(TopologyError, match=r"table links\[A\], key name"):
        load(file_with(tmp_path, GOOD.replace('name = "a-b"', 'name = "A"')))


def test_a_missing_file_says_which_topologies_are_shipped(tmp_path):
    with pytest.raises(TopologyError, match="no such topology file.*three-sites, two-sites, two-sites-directory"):
        load(tmp_path / "none.toml")


def test_every_process_has_a_name_of_its_own():
    names = [process.name for process in processes(load(SHIPPED / "three-sites.toml"))]
    assert len(names) == len(set(names)) == 3 * 6 + 2 + 1


def test_a_link_starts_with_any_of_its_physics(tmp_path):
    physics = 'misalignment = 0.01, noise = "bit_flip:0.02", dead_time_s = 5e-8, eve = "intercept-resend:0.5:22.5"'
    described = load(file_with(tmp_path, GOOD.replace("loss_db = 2", physics))).links[0].physics
    made = LinkPhysics().changed(**asdict(described))
    assert (made.misalignment, made.noise[0].name, made.eve.basis) == (0.01, "bit_flip", "22.5")


def test_the_topology_and_the_link_have_the_same_settings_and_defaults():
    assert LinkPhysics().changed(**asdict(Physics())) == LinkPhysics()
    assert set(asdict(Physics())) == {field.name for field in fields(LinkPhysics)} == set(PHYSICS)


def rounds_of(tmp_path, source, protocol=""):
    text = GOOD.replace("loss_db = 2 }", f"loss_db = 2 }}\nsource = {{ {source} }}\nprotocol = {{ {protocol} }}")
    (link,) = load(file_with(tmp_path, text)).links
    return round_parameters(asdict(link.protocol), link.source.given)


def test_a_link_of_which_no_source_is_said_sends_single_photons(tmp_path):
    (link,) = load(file_with(tmp_path, GOOD)).links
    assert link.source == Source() and round_parameters(asdict(link.protocol), link.source.given).intensities == ()


def test_a_parameter_set_gives_a_links_intensities_and_its_basis_choice(tmp_path):
    lab = parameter_sets.load("lab")
    made = rounds_of(tmp_path, 'set = "lab"', "key_basis_probability = 0.95")
    assert made.intensities == (lab.signal_intensity, lab.decoy_intensity, 0.0)
    assert made.intensity_probabilities == (0.5, 0.4, 0.1)
    assert made.key_basis_probability == lab.key_basis_probability == 0.8
    assert rounds_of(tmp_path, 'set = "ideal"').intensities == (), "its source is one of single photons"


def test_what_the_file_says_goes_before_the_set(tmp_path):
    made = rounds_of(tmp_path, 'set = "lab", signal_intensity = 0.5, key_basis_probability = 0.7')
    assert made.intensities == (0.5, 0.2, 0.0) and made.key_basis_probability == 0.7


def test_without_vacuum_pulses_a_link_runs_the_one_decoy_protocol(tmp_path):
    made = rounds_of(
        tmp_path, "signal_intensity = 0.5, decoy_intensity = 0.1, signal_probability = 0.7, decoy_probability = 0.3"
    )
    assert (made.intensities, made.intensity_probabilities) == ((0.5, 0.1), (0.7, 0.3))
    assert made.proof.name.startswith("one decoy")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("signal_intensity = 0.5", "signal_intensity and signal_probability are missing"),
        ('set = "lab", signal_probability = 0.6', "add up to 1.1: expected 1"),
        ('set = "lab", decoy_intensity = 0.7', "expected each above the next"),
    ],
)
def test_a_source_that_can_not_be_is_refused_in_words(tmp_path, source, words):
    with pytest.raises(ValueError, match=words):
        rounds_of(tmp_path, source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('set = "nowhere"', "key set: expected one of gys, ideal, lab"),
        ("signal_intensity = 0", "key signal_intensity: expected a mean photon number above 0"),
        ("decoy_probability = 1.5", "key decoy_probability: expected a probability from 0 to 1"),
        ('source = "laser"', "key source: expected single-photon or weak-coherent"),
        ("loss_db = 1", "key loss_db: unknown"),
    ],
)
def test_a_source_out_of_range_is_refused_when_the_file_is_read(tmp_path, source, words):
    with pytest.raises(TopologyError, match=words):
        rounds_of(tmp_path, source)


def test_the_sources_of_a_topology_are_those_of_the_parameter_sets():
    assert parameter_sets.names() == limits.PARAMETER_SETS
    assert all(SOURCE["source"].fits(name) for name in SOURCES)
    assert set(SOURCE) - {"set"} == set(TABLES["source"]) - {"repetition_rate_hz"}
    assert set(SOURCE) == {field.name for field in fields(Source)}


@pytest.mark.parametrize("name", ["decoys", "decoys-long-rounds"])
def test_a_shipped_link_with_decoys_has_the_channel_of_its_set(name):
    (link,) = load(SHIPPED / f"{name}.toml").links
    lab = parameter_sets.load(link.source.set).values()
    physics = asdict(link.physics)
    assert {name: value for name, value in lab.items() if name in physics} == {
        name: physics[name] for name in lab if name in physics
    }


def test_long_rounds_have_the_basis_choice_that_their_file_says():
    (link,) = load(SHIPPED / "decoys-long-rounds.toml").links
    made = round_parameters(asdict(link.protocol), link.source.given)
    assert made.key_basis_probability == 0.889, "in the protocol it would go behind the set's"


@pytest.mark.parametrize("slave", ["sae-a", "sae-a2"])
def test_a_connection_may_join_two_saes_of_one_site_or_one_sae_with_itself(tmp_path, slave):
    text = GOOD.replace('saes = ["sae-a"]', 'saes = ["sae-a", "sae-a2"]').replace(
        'slave = "sae-b"', f'slave = "{slave}"'
    )
    (connection,) = load(file_with(tmp_path, text)).connections
    assert (connection.master, connection.slave) == ("sae-a", slave)


def test_a_connection_between_sites_without_a_link_is_refused(tmp_path):
    far = '[[sites]]\nname = "c"\nsaes = ["sae-c"]\n[[connections]]\nmaster = "sae-a"\nslave = "sae-c"\n'
    with pytest.raises(TopologyError, match=r"connections\[2\], key slave: .* have no link between their sites"):
        load(file_with(tmp_path, GOOD + far))


def test_a_connection_within_a_site_without_links_is_refused(tmp_path):
    lonely = '[[sites]]\nname = "c"\nsaes = ["sae-c"]\n[[connections]]\nmaster = "sae-c"\nslave = "sae-c"\n'
    with pytest.raises(TopologyError, match=r"connections\[2\].*both at site c, where no link ends"):
        load(file_with(tmp_path, GOOD + lonely))


def test_a_network_may_be_without_a_dashboard(tmp_path):
    topology = load(file_with(tmp_path, "dashboard = false\n" + GOOD))
    assert "dashboard" not in {process.name for process in processes(topology)}
