"""The networks: SiamFC (Bertinetto et al. 2016) and the ensemble, and their files.

In reading order: ``siamfc`` (stem, branch, SiamFC), ``correlation`` (the response), ``loss``
(labels and balanced loss), ``cluster_weights`` (how much each branch counts), ``esiamfc``
(branches, fusion), ``checkpoints`` (files of ours), ``published`` (reading any weights file),
``norms`` (BatchNorm folded and back), ``first_conv`` (a faster conv1 for learning in bf16).

Images are float32 RGB, 0 to 255, (N, 3, H, W)."""

from esiamfc_lib.networks.checkpoints import digest, save
from esiamfc_lib.networks.correlation import cross_correlation
from esiamfc_lib.networks.esiamfc import ESiamFC, averaged, exemplar_weights, fuse, soup
from esiamfc_lib.networks.loss import balanced_loss, response_labels
from esiamfc_lib.networks.norms import check_norms
from esiamfc_lib.networks.published import load_esiamfc, load_siamfc
from esiamfc_lib.networks.siamfc import STRIDE, SiamFC, layer_table

__all__ = [
    "STRIDE", "ESiamFC", "SiamFC", "averaged", "balanced_loss", "check_norms", "cross_correlation",
    "digest", "exemplar_weights", "fuse", "layer_table", "load_esiamfc",
    "load_siamfc", "response_labels", "save", "soup",
]  # fmt: skip
