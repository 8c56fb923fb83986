import pytest
import torch
from torch.nn import functional as F

from reid_dhm.errors import InputError
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.heads import GeM, Head
from reid_dhm.models.providers import BACKBONES, build_backbone
from reid_dhm.models.reid import ReIDModel


def test_gem_follows_its_definition():
    """(mean of x^p)^(1/p) per channel, Radenović et al. 2018, equation 3; worked by hand."""
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[2.0, 2.0], [2.0, 2.0]]]])
    pooled = GeM(p=3.0)(maps)
    assert pooled.shape == (1, 2)
    assert pooled[0].tolist() == pytest.approx([(100 / 4) ** (1 / 3), 2.0], rel=1e-6)


def test_gem_lies_between_average_and_max():
    maps = torch.rand(4, 8, 6, 3) + 0.1
    average, highest = maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))
    torch.testing.assert_close(GeM(p=1.0)(maps), average)
    # mean >= max^p / n, so the result is within n^(-1/p) of the maximum.
    large = GeM(p=60.0)(maps)
    assert (large <= highest * 1.0001).all()
    assert (large >= highest * 18 ** (-1 / 60) * 0.9999).all()
    assert (GeM(p=3.0)(maps) > average).all()


def test_gem_learns_its_exponent():
    maps = torch.rand(2, 3, 4, 4, dtype=torch.float32) + 0.5
    pool = GeM(p=3.0)
    pool(maps).sum().backward()
    with torch.no_grad():
        x, step = maps.double(), 1e-6
        up, down = (x.pow(p).mean(dim=(2, 3)).pow(1 / p).sum() for p in (3.0 + step, 3.0 - step))
    assert pool.p.grad.item() == pytest.approx((up - down).item() / (2 * step), rel=1e-4)
    assert pool.p.grad.item() > 0


def test_gem_stays_finite_on_silent_channels():
    maps = torch.zeros(1, 2, 4, 4, requires_grad=True)
    pooled = GeM()(maps - 1)
    pooled.sum().backward()
    assert pooled.flatten().tolist() == pytest.approx([1e-6, 1e-6])
    assert maps.grad.isfinite().all()


def test_average_pooling_is_the_mean():
    maps = torch.rand(2, 5, 6, 3)
    torch.testing.assert_close(Head(5, 3, pooling="avg").pool(maps), maps.mean(dim=(2, 3)))


def test_bnneck_as_luo_et_al_describe_it():
    """Batch normalisation with a bias frozen at zero, a bias-free classifier behind it."""
    head = Head(256, 1000, neck="bnneck")
    assert not head.neck.bias.requires_grad
    assert not head.neck.bias.any()
    assert head.neck.weight.requires_grad
    assert head.classifier.bias is None
    assert head.classifier.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert head.classifier.weight.mean().item() == pytest.approx(0, abs=1e-5)


def test_without_a_neck_the_classifier_has_a_bias():
    head = Head(256, 1000, neck="none")
    assert not list(head.neck.parameters())
    assert not head.classifier.bias.any()
    assert head.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)


def test_features_embeddings_and_logits_of_a_bnneck():
    """Triplets see what enters the neck; in training it leaves with zero mean, unit variance."""
    head, maps = Head(6, 3), torch.rand(8, 6, 4, 2)
    out = head(maps)
    assert (out.features.shape, out.embeddings.shape, out.logits.shape) == ((8, 6), (8, 6), (8, 3))
    mean = maps.mean(dim=(2, 3))
    torch.testing.assert_close(out.features, mean)
    normalised = (mean - mean.mean(0)) / (mean.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(out.embeddings, normalised)
    torch.testing.assert_close(out.logits, normalised @ head.classifier.weight.T)


def test_features_are_embeddings_without_a_neck():
    out = Head(6, 3, neck="none")(torch.rand(8, 6, 4, 2))
    assert torch.equal(out.features, out.embeddings)


@pytest.mark.parametrize("neck", ["bnneck", "none"])
@pytest.mark.parametrize("pooling", ["avg", "gem"])
def test_embed_is_forward_without_the_classifier(pooling, neck):
    head, maps = Head(6, 3, pooling, neck).eval(), torch.rand(8, 6, 4, 2)
    assert torch.equal(head.embed(maps), head(maps).embeddings)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"pooling": "max"}, "model.pooling is 'max': use one of avg, gem"),
        ({"neck": "bn"}, "model.neck is 'bn': use one of bnneck, none"),
    ],
)
def test_unknown_options_are_refused(options, named):
    with pytest.raises(InputError, match=named):
        Head(6, 3, **options)


@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_ain_x0_25"])
@torch.no_grad()
def test_osnet_without_a_neck_embeds_as_torchreid_does(name, tmp_path, unsettle):
    """Its Linear + BN + ReLU comes from the weight file, and is kept apart from the classifier."""
    provider = unsettle(BACKBONES[name].create()).eval()
    torch.save(provider.state_dict(), tmp_path / "zoo.pth")
    backbone = build_backbone(name, weights=str(tmp_path / "zoo.pth"))
    model = ReIDModel(backbone, 5, neck="none").eval()
    images = torch.randn(2, 3, 64, 32)
    assert model.embed(images).shape == (2, 512)
    assert torch.equal(model.embed(images), provider(images))


@torch.no_grad()
def test_native_embedding_of_a_branch_starts_as_its_init_says(unsettle):
    backbone = build_backbone("osnet_x0_25")
    unsettle(backbone.native_embedding.args[0])
    model = ReIDModel(
        backbone, 5, [BranchSpec("conv3", "copy"), BranchSpec("conv3", "fresh")], neck="none"
    )
    own = model.head.embedding.state_dict()
    copied, fresh = (branch.head.embedding.state_dict() for branch in model.side_branches)
    assert all(torch.equal(own[k], copied[k]) for k in own)
    assert not any(torch.equal(own[k], fresh[k]) for k in own if k.endswith("weight"))
    assert not {v.data_ptr() for v in own.values()} & {v.data_ptr() for v in copied.values()}


@torch.no_grad()
def test_ensemble_puts_unit_embeddings_side_by_side():
    """The double-width branch of a ResNet is twice as wide: 512 + 512 + 1024."""
    backbone = build_backbone("resnet18")
    model = ReIDModel(backbone, 5, [BranchSpec("layer2"), BranchSpec("layer3")]).eval()
    images = torch.randn(2, 3, 64, 32)
    ensemble = model.embed_ensemble(images)
    assert ensemble.shape == (2, 2048)
    blocks = ensemble.split([512, 512, 1024], dim=1)
    for block, out in zip(blocks, model(images), strict=True):
        torch.testing.assert_close(block.norm(dim=1), torch.ones(2))
        torch.testing.assert_close(
            F.cosine_similarity(block, out.embeddings), torch.ones(2), rtol=0, atol=1e-5
        )


@torch.no_grad()
def test_classify_gives_the_main_logits():
    model = ReIDModel(build_backbone("mobilenet_v3_small"), 5, [BranchSpec("stage3")]).eval()
    images = torch.randn(2, 3, 64, 32)
    assert torch.equal(model.classify(images), model(images)[0].logits)
