"""The keys of the correction layer, in one table: none is taken twice, and none that napari uses there.

napari has 1 to 7, E, F, P, Z, L, M, X, B, V, `[`, `]`, `-`, `=`, Space, Enter and Escape on label layers. The tools of
the correction layer have J, S, D, G, R, H, K, N, I and C.
"""

from __future__ import annotations

# Side by side on the keyboard: back, yes, unsure.
REVIEW_BACK = "T"
REVIEW_ACCEPT = "Y"
REVIEW_SKIP = "U"

REVIEW_KEYS = (REVIEW_BACK, REVIEW_ACCEPT, REVIEW_SKIP)
