import pytest
import torch
from torch import Tensor, nn

from loco_tools.methods.backbones import named_backbone, random_backbone
from loco_tools.methods.batch import Batch
from loco_tools.methods.rd4ad import RD4AD, Bottleneck, Decoder, RD4ADConfig
from loco_tools.methods.training import total

WIDE = (256, 512, 1024)
UNUSED = 4096 * 2048 + 2 * 2048
"""The 1x1 convolution and batch norm that the original builds and never calls."""


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_bottleneck_and_decoder_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        bottleneck, decoder = Bottleneck(WIDE, 3), Decoder(WIDE, (3, 4, 6))
    assert round((parameters(bottleneck) + UNUSED) / 1e6, 3) == 67.278
    assert parameters(decoder) == 24_917_504


def test_the_published_network_has_the_published_shapes() -> None:
    shapes = [(256, 64, 64), (512, 32, 32), (1024, 16, 16)]
    with torch.device("meta"):
        maps = [torch.empty(1, *shape) for shape in shapes]
        code: Tensor = Bottleneck(WIDE, 3)(maps)
        rebuilt = Decoder(WIDE, (3, 4, 6))(code)
    assert code.shape == (1, 2048, 8, 8)
    assert [tuple(one.shape[1:]) for one in rebuilt] == shapes


def test_the_paper_preset_is_the_published_one() -> None:
    config = RD4AD.configure("paper")
    assert isinstance(config, RD4ADConfig)
    assert (config.batch_size, config.epochs, config.steps) == (16, 200, None)
    assert (config.lr, config.betas, config.size_px) == (0.005, (0.5, 0.999), 256)
    assert (config.bottleneck_blocks, config.decoder_blocks) == (3, (3, 4, 6))


@pytest.mark.parametrize(
    ("name", "strides"),
    [("resnet18", (4, 8, 16)), ("scattering", (8, 16)), ("squeezenet1_1", (4, 8, 16))],
)
def test_the_student_is_built_for_the_backbone_it_gets(name: str, strides: tuple[int, ...]) -> None:
    backbone = named_backbone(name) if name == "scattering" else random_backbone(name)
    detector = RD4AD(RD4ADConfig(bottleneck_blocks=1, decoder_blocks=(1,)), backbone, device="cpu")
    detector._input_size = (64, 96)
    images = [torch.randint(256, (64, 96, 3), dtype=torch.uint8).numpy()]
    with torch.inference_mode():
        scores = detector.score_batch(Batch(images))
    assert detector.strides == strides
    assert scores.patches.shape == (1, 64 // strides[0], 96 // strides[0])
    assert detector.cut_shape("bottleneck").stride == 32


def test_the_loss_takes_the_cosine_of_whole_maps_and_sums_the_scales() -> None:
    detector = RD4AD(
        RD4ADConfig(bottleneck_blocks=1, decoder_blocks=(1,)),
        random_backbone("resnet18"),
        device="cpu",
    )
    teacher = tuple(torch.rand(2, c, 64 // s, 64 // s) for c, s in ((64, 4), (128, 8), (256, 16)))
    student = [one.clone() for one in teacher]
    student[0] = student[0].roll(1, dims=2)
    detector.decoder = _Says(student)
    with torch.inference_mode():
        loss = total(detector.reconstruction_loss(teacher))
    flat, moved = teacher[0].flatten(1), student[0].flatten(1)
    cosine = (flat * moved).sum(dim=1) / (flat.norm(dim=1) * moved.norm(dim=1))
    torch.testing.assert_close(loss, (1 - cosine).mean())


def test_a_weight_free_teacher_is_lifted_off_zero_and_a_learned_one_is_left_alone() -> None:
    images = [torch.randint(256, (64, 96, 3), dtype=torch.uint8).numpy() for _ in range(3)]
    for backbone in (named_backbone("scattering"), random_backbone("resnet18")):
        config = RD4ADConfig(size_px=64, steps=1, bottleneck_blocks=1, decoder_blocks=(1,))
        detector = RD4AD(config, backbone, device="cpu").fit(images, [], seed=0)
        with torch.inference_mode():
            batch = Batch(images)
            teacher, maps = detector._teacher(batch), detector._maps(batch)
        if backbone.weight_free:
            assert all(float(one.amin()) >= 0 for one in teacher)
            means = torch.cat([one.mean(dim=(0, 2, 3)) for one in teacher])
            assert float(means.mean()) == pytest.approx(1.0, abs=0.1)
        else:
            assert all(torch.equal(t, one) for t, one in zip(teacher, maps, strict=True))


def test_features_kept_or_made_again_train_the_same_student() -> None:
    images = [torch.randint(256, (64, 96, 3), dtype=torch.uint8).numpy() for _ in range(5)]
    logs = []
    for cache_mb in (0, 100):
        config = RD4ADConfig(
            size_px=64,
            steps=4,
            batch_size=2,
            bottleneck_blocks=1,
            decoder_blocks=(1,),
            cache_mb=cache_mb,
        )
        detector = RD4AD(config, random_backbone("resnet18"), device="cpu")
        logs.append(detector.fit(images, images[:1], seed=0).training_log)
    for made_again, kept in zip(*logs, strict=True):
        assert made_again == pytest.approx(kept, rel=0.02)  # batches differ in rounding


class _Says(nn.Module):
    def __init__(self, maps: list[Tensor]) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, code: Tensor) -> list[Tensor]:
        del code
        return self.maps


@pytest.mark.parametrize(("stride", "expected"), [(4, 1.5), (8, 3.5), (16, 7.5)])
def test_maps_lie_as_far_from_the_originals_as_the_docstring_says(
    stride: int, expected: float
) -> None:
    size, cells = 512, 512 // stride
    rows = torch.arange(float(cells)).view(1, 1, 1, cells).expand(1, 1, 2, cells)
    ours, original = (
        nn.functional.interpolate(rows, (2, size), mode="bilinear", align_corners=aligned)[0, 0, 0]
        for aligned in (False, True)
    )
    inside = (ours > 0) & (ours < cells - 1)
    px_per_cell = (size - 1) / (cells - 1)
    apart = ((ours - original) * px_per_cell).abs()[inside]
    assert float(apart.max()) == pytest.approx(expected, abs=0.03)
    assert f"{expected:g}" in str(RD4AD.__doc__)
    assert float(apart[len(apart) // 2]) < 0.03
