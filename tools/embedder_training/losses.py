"""What the student is rewarded for."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

RELATION_WEIGHT = 10.0  # squared differences of cosines are about a tenth of a cosine loss
SPATIAL_WEIGHT = 1.0
NORM_WEIGHT = 0.1  # one int8 scale serves all pictures: their lengths must not differ much
LENGTH = 3.5  # where the mean length settles under the cosine loss alone
OBJECT_WEIGHT = 0.3
OBJECT_MOVE = 0.5  # a cell that is half covered must fall to this cosine
COVERED_ENOUGH = 0.04  # below this share of a cell its target still holds


@dataclass(frozen=True)
class Batch:
    """Targets of one batch; the last `pairs` samples repeat the first with an object pasted in."""

    global_targets: Tensor
    spatial_targets: Tensor
    covered: Tensor
    pairs: int


def global_loss(embedding: Tensor, target: Tensor) -> Tensor:
    """Return one minus the mean cosine, plus the difference of in-batch cosines.

    A small part keeps the length of every embedding near LENGTH.
    """
    student = functional.normalize(embedding, dim=1)
    teacher = functional.normalize(target, dim=1)
    aligned = 1.0 - (student * teacher).sum(dim=1).mean()
    relation = (student @ student.T - teacher @ teacher.T).square().mean()
    uneven = (embedding.norm(dim=1) / LENGTH - 1.0).square().mean()
    return aligned + RELATION_WEIGHT * relation + NORM_WEIGHT * uneven


def spatial_loss(cells: Tensor, target: Tensor, free: Tensor) -> Tensor:
    """Return one minus the cosine of the cells, weighted by how much the teachers say there.

    `cells` and `target` are (N, C, G, G); `free` (N, G, G) is 1 where the target holds.
    """
    weight = free * target.norm(dim=1)
    cosine = functional.cosine_similarity(cells, target, dim=1)
    return ((1.0 - cosine) * weight).sum() / weight.sum().clamp_min(1e-6)


def object_loss(clean: Tensor, changed: Tensor, covered: Tensor) -> Tensor:
    """Return how far the covered cells stay nearer to the clean ones than they may."""
    cosine = functional.cosine_similarity(clean, changed, dim=1)
    weight = (covered > COVERED_ENOUGH).float()
    limit = 1.0 - (1.0 - OBJECT_MOVE) * (2.0 * covered).clamp_max(1.0)
    return (functional.relu(cosine - limit) * weight).sum() / weight.sum().clamp_min(1.0)


def total_loss(outputs: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
    """Return the weighted sum of all terms."""
    embedding, cells = outputs
    pairs = batch.pairs
    whole = len(embedding) - pairs
    free = (batch.covered <= COVERED_ENOUGH).float()
    loss = global_loss(embedding[:whole], batch.global_targets[:whole])
    loss = loss + SPATIAL_WEIGHT * spatial_loss(cells, batch.spatial_targets, free)
    if pairs:
        moved = object_loss(cells[:pairs], cells[whole:], batch.covered[whole:])
        loss = loss + OBJECT_WEIGHT * moved
    return loss
