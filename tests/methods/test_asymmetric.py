import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loco_tools.methods import asymmetric
from loco_tools.methods.asymmetric import (
    AST,
    ASTConfig,
    position_encoding,
    side_by_side,
    student_loss,
    teacher_loss,
    with_positions,
)
from loco_tools.methods.backbones import Backbone, named_backbone, random_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.training import total

TINY: dict[str, Any] = {
    "size_px": 64,
    "teacher_dim": 8,
    "student_dim": 8,
    "student_blocks": 1,
    "kernels": (3, 5),
    "batch_size": 2,
    "lr": 5e-3,
}
IMAGES = [np.random.default_rng(n).integers(0, 255, (40, 60, 3), np.uint8) for n in range(5)]


def make(backbone: Backbone | None = None, **overrides: Any) -> AST:
    config = ASTConfig(**{**TINY, **overrides})
    return AST(config, backbone or named_backbone("scattering"), device="cpu")


class StoppedFitError(Exception):
    """Stands for Ctrl-C."""


def test_both_networks_have_the_published_number_of_parameters() -> None:
    detector = AST(ASTConfig(), random_backbone("efficientnet_b5"), device="cpu")
    teacher, student = (
        sum(p.numel() for p in network.parameters())
        for network in (detector.teacher, detector.student)
    )
    assert teacher == 3_251_080
    assert student + 1 == 81_421_617  # the original has a factor that it never uses


def test_the_paper_preset_has_the_published_numbers() -> None:
    config = AST.configure("paper")
    expected = {
        "size_px": 768, "batch_size": 8, "teacher_dim": 64, "kernels": [3, 3, 3, 5],
        "clamp": 1.9, "student_dim": 1024, "student_blocks": 4, "epochs": 72, "steps": None,
        "lr": 2e-4, "weight_decay": 1e-5, "image_score": "mean",
    }  # fmt: skip
    assert expected.items() <= config.model_dump(mode="json").items()
    assert AST.default_backbone == "efficientnet_b5"


def test_a_paper_fit_is_told_to_need_gigabytes() -> None:
    detector = AST(ASTConfig(), random_backbone("efficientnet_b5"), device="cpu")
    detector._input_size = (768, 768)
    assert 1500 < detector.memory_mb(200) < 5000


def test_positions_are_waves_along_x_then_along_y() -> None:
    positions = position_encoding(3, 5)
    assert positions.shape == (32, 3, 5)
    rate = 1e4 ** (-2 / 16)
    at = positions[:, 2, 4]
    assert at[:3].tolist() == pytest.approx([math.sin(4), math.cos(4), math.sin(4 * rate)], 1e-5)
    assert at[16:19].tolist() == pytest.approx([math.sin(2), math.cos(2), math.sin(2 * rate)], 1e-5)
    assert len({tuple(one) for one in positions.flatten(1).T.tolist()}) == 15


def test_positions_stand_behind_the_channels_of_every_image() -> None:
    maps = torch.randn(2, 4, 3, 5)
    both = with_positions(maps)
    torch.testing.assert_close(both[:, :4], maps)
    torch.testing.assert_close(both[1, 4:], position_encoding(3, 5))


def test_the_teacher_begins_with_half_the_squares_of_the_features() -> None:
    detector = make()
    teacher, _ = detector._networks()
    maps = torch.randn(2, detector.source.channels, 3, 4)
    expected = maps.square().sum(dim=1).mean() / 2
    torch.testing.assert_close(total(teacher_loss(teacher, maps)), expected)


def test_only_the_student_learns_from_the_students_loss() -> None:
    detector = make()
    teacher, student = detector._networks()
    maps = torch.randn(2, detector.source.channels, 3, 4)
    torch.autograd.backward(student_loss(teacher, student.eval(), maps))
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())


def test_scores_are_the_mean_squared_difference_of_student_and_teacher() -> None:
    detector = make(steps=2).fit(IMAGES, [], seed=0)
    batch = Batch(IMAGES[:2])
    with torch.inference_mode():
        (maps,) = detector.source.extract(batch, detector.input_size)
        (latent,), _ = detector.teacher([maps])
        expected = (latent - detector.student(maps)).square().mean(dim=1)
        scores = detector.score_batch(batch)
    torch.testing.assert_close(scores.patches, expected)
    torch.testing.assert_close(scores.image, expected.mean(dim=(1, 2)))
    assert detector.smoothing_px == 0


def test_the_image_score_can_be_the_maximum_of_the_map() -> None:
    detector = make(steps=2, image_score="max").fit(IMAGES, [], seed=0)
    with torch.inference_mode():
        scores = detector.score_batch(Batch(IMAGES[:2]))
    torch.testing.assert_close(scores.image, scores.patches.amax(dim=(1, 2)))


def test_both_losses_fall_and_are_logged_side_by_side() -> None:
    log = make(steps=20).fit(IMAGES, IMAGES[:3], seed=0).training_log
    assert [entry["epoch"] for entry in log] == list(range(1, 11))
    for key in ("loss", "validation", "teacher_loss", "teacher_validation"):
        assert log[-1][key] < log[0][key]
    for entry in log:
        parts = entry["teacher_loss/distance"] + entry["teacher_loss/volume"]
        assert parts == pytest.approx(entry["teacher_loss"], abs=1e-4)


def test_a_log_of_one_after_the_other_becomes_one_entry_per_epoch() -> None:
    teacher = {"epoch": 1.0, "step": 5.0, "loss": 9.0}
    student = {"epoch": 2.0, "step": 10.0, "loss": 1.0, "validation": 2.0}
    assert side_by_side([teacher, student]) == [
        {"epoch": 1.0, "step": 5.0, "loss": 1.0, "validation": 2.0, "teacher_loss": 9.0}
    ]


@pytest.mark.parametrize("stop_at", [3, 6])
def test_a_fit_interrupted_in_either_half_goes_on_as_if_it_had_not_been(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loco_tools.methods.training._SAVE_EVERY_S", 0.0)
    whole = make(steps=4).fit(IMAGES, [], seed=3)
    detector = make(steps=4)
    calls = []

    def counted(original: Any) -> Any:
        def stops(*arguments: Any) -> Any:
            calls.append(1)
            if len(calls) == stop_at:
                raise StoppedFitError
            return original(*arguments)

        return stops

    with monkeypatch.context() as patched:
        patched.setattr(asymmetric, "teacher_loss", counted(teacher_loss))
        patched.setattr(asymmetric, "student_loss", counted(student_loss))
        with pytest.raises(StoppedFitError):
            detector.fit(IMAGES, [], seed=3, keep=tmp_path / "kept")
    assert (tmp_path / "kept").exists()
    resumed = make(steps=4).fit(IMAGES, [], seed=3, keep=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    assert resumed.training_log == whole.training_log
    for one, other in zip(resumed.predict(IMAGES), whole.predict(IMAGES), strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-5)


def test_the_cuts_have_the_shape_that_they_say() -> None:
    detector = make(steps=1).fit(IMAGES, [], seed=0)
    for cut in detector.cuts:
        (found,) = detector.features(IMAGES[:2], cut)
        shape = detector.cut_shape(cut)
        h, w = detector.input_size
        assert found.shape == (2, shape.channels, h // shape.stride, w // shape.stride)
    (squares,) = detector.features(IMAGES[:2], "student-teacher difference")
    with torch.inference_mode():
        patches = detector.score_batch(Batch(IMAGES[:2])).patches
    torch.testing.assert_close(squares.mean(dim=1), patches)
