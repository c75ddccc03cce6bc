"""The blocks that adversarial detectors share."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import nets


def size(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def test_four_of_these_make_the_ganomaly_of_the_papers():
    # ALCN, Table 5, prints 3.86 million: two encoders, a decoder and a discriminator, which is an encoder to 1 number
    ganomaly = [nets.dcgan_encoder(), nets.dcgan_decoder(), nets.dcgan_encoder(), nets.dcgan_encoder(code=1)]
    assert round(size(*ganomaly) / 1e6, 2) == 3.86


@pytest.mark.parametrize("side", [16, 32, 64, 256])
def test_they_take_powers_of_two(side):
    encoder, decoder = nets.dcgan_encoder(3, 10, side, 8), nets.dcgan_decoder(10, 3, side, 8, nn.Sigmoid)
    z = encoder(torch.rand(2, 3, side, side))
    assert z.shape == (2, 10) and encoder[:-2](torch.rand(2, 3, side, side)).shape[-2:] == (4, 4)
    drawn = decoder(z)
    assert drawn.shape == (2, 3, side, side) and 0 <= drawn.min() and drawn.max() <= 1


@pytest.mark.parametrize("side", [8, 28, 33, 100])
def test_another_side_is_refused_in_one_sentence(side):
    with pytest.raises(ValueError, match=f"not {side}; load them with size=64"):
        nets.dcgan_encoder(side=side)


def test_how_images_enter():
    u8 = torch.tensor([0, 255, 51], dtype=torch.uint8).repeat_interleave(64 * 64).reshape(3, 1, 64, 64)
    x = nets.dcgan_pm1(u8)
    assert x.flatten(1).unique(dim=1).flatten().tolist() == pytest.approx([-1, 1, -0.6])
    assert nets.dcgan_pm1(u8[:, :, :28, :28]).shape[-1] == nets.dcgan_side(u8[:, :, :28, :28]) == 32
    with pytest.raises(ValueError, match="square"):
        nets.dcgan_pm1(u8[:, :, :28])
    with pytest.raises(ValueError, match="not 48"):
        nets.dcgan_side(u8[:, :, :48, :48])


def test_initial_weights():
    net = nets.dcgan_initialise(nets.dcgan_encoder(width=32))
    assert float(net[0].weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(net[3].weight.mean()) == pytest.approx(1, abs=0.02)


def test_batch_statistics_normalise_a_batch_and_change_nothing():
    net = nn.Sequential(nn.BatchNorm2d(2)).eval()
    x = 5 + 3 * torch.randn(8, 2, 4, 4)
    before = net(x)
    with nets.batch_statistics(net):
        inside = net(x)
    assert np.allclose(inside.mean((0, 2, 3)).detach(), 0, atol=1e-5)
    assert torch.equal(net(x), before) and not net[0].training
    assert net[0].num_batches_tracked == 0 and torch.equal(net[0].running_mean, torch.zeros(2))


def test_statistics_of_a_batch_are_borrowed_and_given_back():
    net, x = nn.Sequential(nn.BatchNorm2d(2)), 5 + torch.randn(8, 2, 4, 4)
    with nets.batch_statistics(net):
        net(x)
    assert net[0].num_batches_tracked == 0
    net(x)
    assert net[0].num_batches_tracked == 1 and net[0].running_mean.min() > 0.1
