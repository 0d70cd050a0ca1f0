"""The network of the experiments: a small U-Net."""

import keras
from keras import layers


def unet(channels=1, classes=1, *, width=8, depth=3):
    """A U-Net that returns logits, for images of any size divisible by 2**depth.

    Args:
        channels: channels of the image.
        classes: channels of the output; 1 is binary.
        width: filters at full resolution; each level down doubles them.
        depth: how many times the image is halved.

    Shapes: `(batch, height, width, channels)` -> `(batch, height, width, classes)`, float32
        under any policy, because half precision saturates a sigmoid at a logit of 11.

    Source: Ronneberger et al. 2015 (arXiv:1505.04597), figure 1; with padding, so that output
        and image have one size, with batch normalisation, and much narrower.
    """
    image = keras.Input((None, None, channels))
    x, skips = image, []
    for level in range(depth):
        x = _two_convolutions(x, width * 2**level)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = _two_convolutions(x, width * 2**depth)
    for level in reversed(range(depth)):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skips[level]])
        x = _two_convolutions(x, width * 2**level)
    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="unet")


def _two_convolutions(x, filters):
    for _ in range(2):
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"
        )(x)
        # The runs are a few hundred steps long; Keras's momentum of 0.99 would still remember
        # the first of them at the end.
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
    return x
