"""Stages of a watch: the makers of its scorer, decider, monitor and followers."""

from __future__ import annotations

from functools import partial

from edge_sim.core.protocols import Follower, Scorer
from edge_sim.core.types import GrayImage, Roi
from edge_sim.decision.decider import AdaptiveDecider
from edge_sim.decision.drift import DriftFollower, baselines_of
from edge_sim.decision.features import Structural, with_structure
from edge_sim.decision.followers import make_follower
from edge_sim.decision.pipeline import OnUse, Stages
from edge_sim.decision.rules import RuleFollower
from edge_sim.decision.scene_problems import SceneHealth
from edge_sim.decision.scorer import MOST_LEFT_OUT, GalleryScorer
from edge_sim.errors import ConfigError
from edge_sim.gallery.gallery import Gallery
from edge_sim.gallery.records import is_of_region, moved_region
from edge_sim.runtime.config import Config, WatchConfig
from edge_sim.vision.alignment import RegionStabilizer
from edge_sim.vision.scene_monitor import SceneMonitor


def stages_of(config: Config, watch: WatchConfig) -> Stages:
    """Return the makers of scorer, decider, monitor and followers for `watch`."""
    drift, health = DriftFollower(watch.drift_every_s), SceneHealth(watch.problems)
    return Stages(
        scorer=partial(GalleryScorer, most_left_out=MOST_LEFT_OUT),
        decider=partial(_decider, watch),
        monitor=partial(_monitor, watch),
        steady=lambda gallery: RegionStabilizer(gallery).follow,
        detail=partial(with_structure, structural=_structural(config.score.ssim_engine)),
        followers=partial(_followers, watch, drift, health),
        on_use=partial(_inform, watch, drift, health),
    )


def _monitor(watch: WatchConfig, gallery: Gallery) -> SceneMonitor:
    """Return the monitor; pictures of another region say nothing about whether the camera moved."""
    roi = Roi(*watch.roi)
    return SceneMonitor(item for item in gallery.references if is_of_region(item, roi))


def _decider(watch: WatchConfig, gallery: Gallery, scorer: Scorer) -> AdaptiveDecider:
    return AdaptiveDecider(
        scorer.leave_one_out(),
        gallery,
        sensitivity=watch.sensitivity,
        matches=watch.confirm.matches,
        of=watch.confirm.of,
        rules=watch.rules,
    )


def _inform(
    watch: WatchConfig, drift: DriftFollower, health: SceneHealth, gallery: Gallery, scorer: Scorer
) -> OnUse:
    """Return what tells the followers of a watch about a gallery, once it is in force."""
    baselines = baselines_of(gallery, scorer.leave_one_out())
    moved = moved_region(gallery, Roi(*watch.roi)) is not None

    def inform() -> None:
        health.region_moved = moved
        drift.compare_with(baselines)

    return inform


def _followers(
    watch: WatchConfig, drift: DriftFollower, health: SceneHealth
) -> tuple[Follower, ...]:
    own = map(make_follower, watch.followers)
    return health, RuleFollower(watch.rules), drift, *own


def _structural(engine: str) -> Structural | None:
    """Return the structural similarity of another engine; None for edge_sim's own."""
    if engine == "opencv":
        return None
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise ConfigError(
            "score.ssim_engine: scikit-image is not installed; pip install 'edge_sim[ssim]'"
        ) from error

    def compare(a: GrayImage, b: GrayImage) -> float:
        return float(
            structural_similarity(
                a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
            )
        )

    return compare
