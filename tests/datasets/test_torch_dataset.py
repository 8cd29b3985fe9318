import pickle

import numpy as np
import pytest

import loco_tools
from loco_tools.datasets import sample as sample_module
from loco_tools.errors import MissingExtraError

torch = pytest.importorskip("torch")
v2 = pytest.importorskip("torchvision.transforms.v2")


def test_items_have_the_pixels_and_the_union_of_the_masks(make_loco_class):
    dataset = loco_tools.load(make_loco_class())
    view = dataset.torch(split="test")
    item = view[4]
    assert len(view) == len(dataset.test)
    assert np.array_equal(item["image"].permute(1, 2, 0).numpy(), dataset.test[4].image())
    assert np.array_equal(item["mask"].numpy(), dataset.test[4].ground_truth())
    assert (item["label"], item["kind"], item["part"]) == (1, "logical", "")
    assert view.masks(4).shape == (2, 32, 48)
    assert view.masks(0).shape == (0, 32, 48)
    assert not view[0]["mask"].any()


def test_a_transform_moves_image_and_masks_together(make_loco_class):
    dataset = loco_tools.load(make_loco_class())
    flip = v2.RandomHorizontalFlip(p=1)
    resize = v2.Resize((16, 24))
    flipped, small = dataset.torch("test", flip), dataset.torch("test", resize)
    assert np.array_equal(flipped[4]["mask"].numpy(), dataset.test[4].ground_truth()[:, ::-1])
    assert np.array_equal(
        flipped[4]["image"].permute(1, 2, 0).numpy(), dataset.test[4].image()[:, ::-1]
    )
    assert small[4]["mask"].shape == (16, 24)
    assert small[4]["mask"].any()
    assert small.masks(4).shape == (2, 16, 24)


def test_a_data_loader_batches_items_in_worker_processes(make_loco_class):
    view = loco_tools.load(make_loco_class()).torch(split="test")
    assert pickle.dumps(view)
    loader = torch.utils.data.DataLoader(
        view, batch_size=4, num_workers=1, multiprocessing_context="fork"
    )
    batch = next(iter(loader))
    assert batch["image"].shape == (4, 3, 32, 48)
    assert batch["mask"].dtype == torch.bool
    assert batch["label"].tolist() == [0, 0, 0, 1]


def test_without_torch_the_extra_is_named(make_loco_class, monkeypatch):
    def missing(what, extra):
        raise MissingExtraError(what, extra)

    monkeypatch.setattr(sample_module, "require", missing)
    dataset = loco_tools.load(make_loco_class())
    with pytest.raises(MissingExtraError, match=r"a torch dataset needs .*loco-tools\[bench\]"):
        dataset.torch()
    with pytest.raises(MissingExtraError, match=r"Hugging Face .*loco-tools\[hub\]"):
        dataset.to_hf()
