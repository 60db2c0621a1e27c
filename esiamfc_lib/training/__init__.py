"""Notebooks 02, 05 and 06: one training loop for the baseline, the branches and the fusion.

In reading order: ``pairs`` (sampling), ``held_out`` (which videos validate), ``augmentation``,
``loading`` (batches), ``tasks`` (what is frozen and what learns), ``loop`` (steps, epochs,
resume), ``measure`` (loss without learning), ``run_folder`` (its files), ``log`` (history),
``stem_features`` (a frozen stem computed once)."""

from esiamfc_lib.training.augmentation import augment, margin
from esiamfc_lib.training.held_out import fold_files, split_tracks, track_folds, without_fold
from esiamfc_lib.training.loading import PairLoader, loader
from esiamfc_lib.training.log import history_table
from esiamfc_lib.training.loop import fit
from esiamfc_lib.training.measure import evaluate_loss, inputs_of, pair_losses
from esiamfc_lib.training.pairs import PairDataset
from esiamfc_lib.training.stem_features import find_stem_features, keep_stem_features, pairs_of
from esiamfc_lib.training.tasks import BaselineTask, BranchTask, FusionTask, JointTask

__all__ = [
    "BaselineTask", "BranchTask", "FusionTask", "JointTask", "PairDataset", "PairLoader", "augment",
    "evaluate_loss", "find_stem_features", "fit", "fold_files", "history_table", "inputs_of",
    "keep_stem_features", "loader", "margin", "pair_losses", "pairs_of", "split_tracks",
    "track_folds", "without_fold",
]  # fmt: skip
