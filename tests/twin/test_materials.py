import numpy as np
import pytest

from loco_tools.twin import surface_textures
from loco_tools.twin.materials import draw_wear


def wears(count: int) -> list[object]:
    return [draw_wear(np.random.default_rng(seed)) for seed in range(count)]


def test_parts_differ_in_roughness_grain_dust_and_fingerprints() -> None:
    drawn = [draw_wear(np.random.default_rng(seed)) for seed in range(30)]
    assert len({wear.roughness for wear in drawn}) == 30
    assert all(0.85 <= wear.roughness <= 1.2 for wear in drawn)
    assert all(1.0 <= wear.grain <= 1.2 for wear in drawn)
    assert {wear.dust for wear in drawn} == {0, 1, 2}
    assert 6 < np.mean([len(wear.prints) for wear in drawn]) < 14
    assert len({wear.prints for wear in drawn}) == 30


def test_the_same_stream_draws_the_same_wear() -> None:
    assert wears(3) == wears(3)


def test_a_fingerprint_has_ridges_half_a_millimetre_apart_within_a_fingertip() -> None:
    mark = surface_textures.fingerprint(20.0, 0.0, np.random.default_rng(1))
    assert 0.0 <= mark.min() <= mark.max() <= 1.2
    rows, columns = np.nonzero(mark > 0.2)
    assert 9 < np.ptp(columns) / 20 < 15
    assert 12 < np.ptp(rows) / 20 < 19
    spectrum = np.abs(np.fft.fft2(mark))
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(len(mark), 1 / 20.0)] * 2))
    bands = [spectrum[(frequency > f) & (frequency < f + 0.5)].sum() for f in (0.75, 1.75, 3.25)]
    assert bands[1] > bands[0] / 4
    assert bands[1] > 2 * bands[2]


def test_grease_continues_across_the_edge_of_the_tile_and_needs_prints() -> None:
    assert not surface_textures.fingerprints(128, 64.0, ()).any()
    grease = surface_textures.fingerprints(128, 64.0, [(0.95, 0.5, 30.0, 0.3, 2)])
    assert grease[:, :16].any()
    assert grease[:, -6:].any()
    assert grease.max() <= 0.5


@pytest.mark.parametrize("finish", ["zinc", "black_paint", "zinc_spray", "bare_steel"])
def test_a_worn_finish_is_computed_once(finish: str) -> None:
    pytest.importorskip("mitsuba")
    from loco_tools.twin.materials import material
    from loco_tools.twin.rendering import load_renderer

    load_renderer()
    wear = draw_wear(np.random.default_rng(4))
    assert material(finish, wear) is material(finish, wear)
    assert material(finish, wear) is not material(finish, draw_wear(np.random.default_rng(5)))
