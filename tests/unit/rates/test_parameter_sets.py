import pytest

from qkde.parameter_sets import KEYS, SHIPPED, InvalidParameterSet, load, names


def text_of(name="lab"):
    return (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_three_sets_come_with_the_package_and_each_names_its_sources():
    assert names() == ("gys", "ideal", "lab")
    for name in names():
        link = load(name)
        assert link.name == name and link.description and link.references


def test_gys_has_the_values_of_the_decoy_papers():
    gys = load("gys")
    assert (gys.attenuation_db_per_km, gys.misalignment, gys.dark_count_probability) == (0.21, 0.033, 1.7e-6)
    assert (gys.detector_efficiency, gys.error_correction_efficiency) == (0.045, 1.22)
    assert gys.transmittance == pytest.approx(0.045 * 10**-1.05)


def test_the_ideal_link_loses_nothing_and_errs_never():
    ideal = load("ideal")
    assert ideal.source == "single-photon" and ideal.transmittance == 1
    assert ideal.misalignment == ideal.dark_count_probability == 0


def test_a_file_of_ones_own_is_read_by_its_path(tmp_path):
    path = written(tmp_path, text_of().replace("distance_km = 10", "distance_km = 12.5"))
    assert load(path).distance_km == load(str(path)).distance_km == 12.5
    assert load(path).name == "mine"


def test_values_give_the_same_set_back():
    gys = load("gys")
    assert gys.changed(**gys.values()) == gys
    assert set(gys.values()) == set(KEYS)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("misalignment = 0.01", "misalignment = 0.7", r"\[channel\] misalignment is 0.7: .* from 0 to 0.5"),
        ("misalignment = 0.01", "misalignment = nan", r"\[channel\] misalignment is nan: "),
        ("misalignment = 0.01", "misalignment = true", r"\[channel\] misalignment is True: "),
        ("misalignment = 0.01", 'misalignment = "low"', r"\[channel\] misalignment is 'low': "),
        ("misalignment = 0.01", "", r"\[channel\] misalignment: missing, expected a probability"),
        ("misalignment = 0.01", "misalignement = 0.01", r"\[channel\] misalignement: unknown, expected attenuation"),
        ("distance_km = 10", "distance_km = -1", r"distance_km is -1: expected a length in km from 0"),
        ("signal_intensity = 0.6", "signal_intensity = 0", r"signal_intensity is 0: expected .* above 0"),
        ("decoy_intensity = 0.2", "decoy_intensity = 0.6", "signal_intensity 0.6, decoy_intensity 0.6, .* each above"),
        ("signal_probability = 0.5", "signal_probability = 0.6", "add up to 1.1: expected 1"),
        ("key_basis_probability = 0.8", "key_basis_probability = 1", "key_basis_probability is 1: .* below 1"),
        ('source = "weak-coherent"', 'source = "laser"', "source is 'laser': expected single-photon or weak-coherent"),
        ("error_correction_efficiency = 1.16", "error_correction_efficiency = 0.9", "is 0.9: expected a factor from 1"),
        ("[detector]", "[detectors]", "detectors: unknown"),
        ("[channel]", "channel = 1\n[channels]", "channel"),
        ("description = ", "description = 1 #", "description is 1: expected a text"),
        ("[channel]", "[channel", "not a TOML file"),
    ],
)
def test_a_bad_file_is_named_with_its_key_and_range(tmp_path, old, new, expected):
    text = text_of()
    assert old in text
    path = written(tmp_path, text.replace(old, new, 1))
    with pytest.raises(InvalidParameterSet, match=rf"^{path}: .*{expected}"):
        load(path)


def test_a_set_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(InvalidParameterSet, match=r"no parameter set 'gis': expected gys, ideal, lab or a path"):
        load("gis")
    with pytest.raises(InvalidParameterSet, match="none.toml: No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(InvalidParameterSet, match="no parameter set '../lab'"):
        load("../lab")


def test_a_change_is_checked_too():
    assert load("gys").changed(distance_km=10).distance_km == 10
    with pytest.raises(InvalidParameterSet, match="has no length_km: expected some of .*distance_km"):
        load("gys").changed(length_km=10)
    with pytest.raises(InvalidParameterSet, match="dark_count_probability is 1: expected .* below 1"):
        load("gys").changed(dark_count_probability=1)
