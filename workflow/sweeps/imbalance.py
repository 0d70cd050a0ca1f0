"""The network of `imbalance.yaml` whose last layer starts with the right bias."""

import math

from segloss_ref.models import unet


def unet_with_prior(channels, outputs, spatial_dims, share=0.001):
    """The U-Net of the sweep; untrained, it answers with the share of the foreground."""
    model = unet(channels, outputs, width=8, depth=3, spatial_dims=spatial_dims)
    model.get_layer("logits").bias.assign([math.log(share / (1 - share))])
    return model
