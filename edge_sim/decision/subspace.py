"""Softened span of the references of a state, and the residual of a picture outside it.

For unit vectors the predictive variance of a Gaussian process with a linear kernel,
`1 - k' (K + noise)^-1 k`, is the squared distance to the span of the references, softened by the
noise (Rasmussen & Williams, 2006, eq. 2.26). It uses all references of a state: a probe between
two of them is familiar, which the nearest reference alone would not tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sim.core.types import FloatMatrix

NOISE = 0.02
"""Variance of the noise of a view, in units of its squared length; 0.01 to 0.1 is flat."""


@dataclass(frozen=True, slots=True, eq=False)
class Subspace:
    """The softened span of the references of one state.

    It is a matrix on the cosines of a probe with the references, which are known anyway: no other
    product with the long vectors is needed.

    Args:
        coefficients: (R, N) float32; of the cosines c of a unit vector with the references,
            |coefficients @ c|^2 is the explained part.
        left_out: (N,) unexplained part of each reference by the others; 1 if there are none.
    """

    coefficients: FloatMatrix
    left_out: NDArray[np.float32]

    def residual(self, cosines: NDArray[np.float32]) -> float:
        """Return the part of a unit vector outside the span, 0 to 1, from its (N,) cosines."""
        explained = self.coefficients @ cosines
        return min(max(1.0 - float(explained @ explained), 0.0), 1.0)

    def residuals(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the part of each of M unit vectors outside the span, from (N, M) cosines."""
        explained = self.coefficients @ cosines
        parts = np.einsum("rm,rm->m", explained, explained)
        return np.asarray(np.clip(1.0 - parts, 0.0, 1.0), np.float32)


def fit_span(rows: FloatMatrix) -> Subspace:
    """Return the span of (N, D) unit rows."""
    return span_of_cosines(rows.astype(np.float64) @ rows.T.astype(np.float64), NOISE)


def span_of_cosines(gram: NDArray[Any], noise: float) -> Subspace:
    """Return the span of N unit vectors from their (N, N) cosines."""
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    values = np.maximum(values, 0.0)
    kept = values > 1e-6
    # explained = sum_j s_j^2 / (s_j^2 + noise) (v_j . x)^2, with v_j = rows' u_j / s_j
    coefficients = (vectors[:, kept] / np.sqrt(values[kept] + noise)).T
    shrunk = np.square(vectors) @ (1.0 / (values + noise))  # diagonal of (K + noise)^-1
    left_out = np.clip(1.0 / shrunk - noise, 0.0, 1.0)
    return Subspace(np.ascontiguousarray(coefficients, np.float32), left_out.astype(np.float32))
