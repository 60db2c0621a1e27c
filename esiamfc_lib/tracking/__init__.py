"""The trackers: one SiamFC loop (Bertinetto et al. 2016, section 3.2) for all networks.

In reading order: ``base`` (a got10k tracker that runs whole sequences), ``engine`` (what computes
the features), ``siamfc`` (the loop), ``esiamfc`` (one branch, and the fusions), ``spec`` (a
tracker as JSON), ``tracker`` (from a file of weights, for users), ``lockstep`` (many sequences at
once), ``video`` (a user's video)."""

from esiamfc_lib.config import Fusion
from esiamfc_lib.tracking.base import IdentityTracker, record
from esiamfc_lib.tracking.esiamfc import BranchTracker, ESiamFCTracker
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from esiamfc_lib.tracking.spec import TrackerSpec, tracker_specs

__all__ = [
    "BranchTracker", "ESiamFCTracker", "Fusion", "IdentityTracker", "SiamFCTracker", "TrackerSpec",
    "record", "tracker_specs",
]  # fmt: skip
