"""The losses, one module per family of the taxonomy, or per kind of what it looks at."""

from segloss_ref.catalogue import catalogue
from segloss_ref.losses.base import *  # noqa: F403
from segloss_ref.losses.base import SegmentationLoss as SegmentationLoss
from segloss_ref.losses.boundary import *  # noqa: F403
from segloss_ref.losses.compound import *  # noqa: F403
from segloss_ref.losses.distribution import *  # noqa: F403
from segloss_ref.losses.inputs import check_batch as check_batch
from segloss_ref.losses.region import *  # noqa: F403
from segloss_ref.losses.structure import *  # noqa: F403
from segloss_ref.losses.topology import *  # noqa: F403
from segloss_ref.losses.wrappers import *  # noqa: F403

# Each module exports the classes that its `catalogued` decorators have put into the catalogue.
__all__ = sorted([*(entry.name for entry in catalogue()), "SegmentationLoss", "check_batch"])
