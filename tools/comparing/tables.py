"""Results of methods as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comparing.comparison import MethodResult
from comparing.methods import OURS, THRESHOLDS
from edge_sim.analysis.evaluation.events import EventsResult
from edge_sim.analysis.evaluation.retrieval import RetrievalResult
from edge_sim.analysis.evaluation.states import StatesResult
from edge_sim.errors import DataError
from edge_sim.vision.light import CONDITIONS

_TITLES = {
    "gallery": "edge_sim",
    "nearest-cosine": "nearest reference by cosine",
    "ssim": "nearest reference by structural similarity",
    "thumbnail": "nearest reference, 32 px grey thumbnail",
    "softmax-head": "softmax head fitted on the references",
    "mog2": "OpenCV MOG2",
    "scenedetect": "PySceneDetect, adaptive detector",
}
NOTHING = "–"
Row = Sequence[str]


def figures_of_readme(results: Sequence[MethodResult], own_model: str) -> str:
    """Return the short table and the sentence on confident answers.

    edge_sim is shown with its own model, the other methods with the other one.

    Args:
        results: Figures of every candidate; skipped ones are left out.
        own_model: Name of the model of edge_sim.
    """
    measured = [
        item
        for item in results
        if item.skipped is None
        and (item.model is None or (item.model == own_model) == (item.method == OURS))
    ]
    head = (
        "method",
        "accuracy",
        "worst set",
        "unseen states",
        "events, F1",
        "worst clip",
        "false reports",
        "unknown events found",
        "false unknown per 1000",
    )
    rows = []
    for item in measured:
        one = item.summary
        rows.append(
            (
                _title(item),
                _figure(one.balanced_accuracy),
                _named(one.worst_balanced_accuracy, one.worst_set),
                _figure(one.auroc),
                _figure(one.f1),
                _named(one.worst_f1, one.worst_clip),
                _figure(one.false_in_still_clips, places=0),
                _figure(one.unknown_events),
                _figure(one.false_unknown_per_1000, places=1),
            )
        )
    sure = next((_sureness(item) for item in measured if item.method == OURS), "")
    return f"{_table(head, rows)}\n\n{sure}".strip()


def tables_of(
    results: Sequence[MethodResult],
    retrieval: Mapping[str, Sequence[RetrievalResult]],
    models: Mapping[str, str],
) -> str:
    """Return every table, each under its heading.

    Args:
        results: Figures of every candidate.
        retrieval: Model -> collections.
        models: Name of a model in the tables -> its id.
    """
    measured = [item for item in results if item.skipped is None]
    naming = [item for item in measured if item.states]
    skipped = [f"{_title(item)}: not measured, {item.skipped}." for item in results if item.skipped]
    named = [f"`{name}` is {model_id}." for name, model_id in models.items()]
    parts = [
        "\n".join([*named, *skipped]),
        "### Frame by frame",
        _states_table(naming),
        "### Changes of state",
        _events_table(measured),
        "### Each set, frame by frame: balanced accuracy",
        _by_set(naming, "balanced_accuracy"),
        "### Each set, frame by frame: AUROC of unseen states",
        _by_set(naming, "auroc"),
        "### Each clip in order: F1 of events / false events",
        _by_clip(measured),
        "### Each clip in order: unknown events found / false unknown per 1000 frames",
        _unknown_by_clip([item for item in measured if item.states]),
        "### Light",
        _by_light(measured),
        "### Retrieval",
        _retrieval_table(retrieval),
    ]
    return "\n\n".join(part for part in parts if part)


def _states_table(results: Sequence[MethodResult]) -> str:
    head = (
        "method",
        "balanced accuracy",
        "worst set",
        "AUROC",
        "unknown recall",
        "unseen called unknown",
        "known called unknown",
        "calibration error",
        "said at 0.9 and more",
        "of it right",
    )
    rows = []
    for item in results:
        states = item.states or ()
        one = item.summary
        rows.append(
            (
                _title(item),
                _figure(one.balanced_accuracy),
                _named(one.worst_balanced_accuracy, one.worst_set),
                _figure(one.auroc),
                _figure(one.unknown_recall),
                _figure(_mean([_open(result, "found") for result in states])),
                _figure(_mean([_open(result, "false_unknown") for result in states])),
                _figure(_mean([result.calibration_error for result in states])),
                _figure(_mean([result.sure_share for result in states])),
                _figure(_mean([result.sure_accuracy for result in states])),
            )
        )
    return _table(head, rows)


def _events_table(results: Sequence[MethodResult]) -> str:
    head = (
        "method",
        "F1",
        "worst clip",
        "frames of delay",
        "false per 1000 frames",
        "false in still clips",
        "part of the time unknown",
        "unknown events found",
        "false unknown per 1000",
    )
    rows = []
    for item in results:
        one = item.summary
        rows.append(
            (
                _title(item),
                _figure(one.f1),
                _named(one.worst_f1, one.worst_clip),
                _figure(one.delay_frames, places=1),
                _figure(one.false_per_1000, places=1),
                _figure(one.false_in_still_clips, places=0),
                _figure(one.unknown_share),
                _figure(one.unknown_events),
                _figure(one.false_unknown_per_1000, places=1),
            )
        )
    return _table(head, rows)


def _by_set(results: Sequence[MethodResult], figure: str) -> str:
    results = [item for item in results if item.threshold is None]  # no matter by frame
    if not results:
        return ""
    names = [result.name for result in results[0].states or ()]
    rows = []
    for place, name in enumerate(names):
        cells = [_of_state(item.states[place], figure) for item in results if item.states]
        rows.append((name, *map(_figure, cells)))
    return _table(("set", *map(_short_title, results)), rows)


def _of_state(result: StatesResult, figure: str) -> float | None:
    return _open(result, figure) if figure == "auroc" else float(getattr(result, figure))


def _open(result: StatesResult, figure: str) -> float | None:
    return None if result.open_set is None else float(getattr(result.open_set, figure))


def _by_clip(results: Sequence[MethodResult]) -> str:
    played = [item for item in results if item.events]
    if not played:
        return ""
    names = [result.name for result in played[0].events or ()]
    rows = []
    for place, name in enumerate(names):
        cells = [_of_clip(item.events[place]) for item in played if item.events]
        rows.append((name, *cells))
    return _table(("clip", *map(_short_title, played)), rows)


def _of_clip(result: EventsResult) -> str:
    false = _figure(result.false_events, places=1)
    return f"{NOTHING if result.true_changes <= 1 else _figure(result.f1)} / {false}"


def _unknown_by_clip(results: Sequence[MethodResult]) -> str:
    played = [item for item in results if item.events]
    if not played:
        return ""
    names = [result.name for result in played[0].events or ()]
    rows = []
    for place, name in enumerate(names):
        clips = [item.events[place] for item in played if item.events]
        cells = [
            f"{_figure(one.unknown_recall)} / {_figure(one.false_unknown_per_1000, places=1)}"
            for one in clips
        ]
        rows.append((name, *cells))
    return _table(("clip", *map(_short_title, played)), rows)


def _by_light(results: Sequence[MethodResult]) -> str:
    """Return state x light of the first method, for the sets with more than one light."""
    rows = []
    states = results[0].states if results else None
    varied = [
        result
        for result in states or ()
        if len({light for cells in result.conditions.values() for light in cells}) > 1
    ]
    seen = {light for result in varied for cells in result.conditions.values() for light in cells}
    lights = [light for light in CONDITIONS if light in seen]
    for result in varied:
        for state, cells in result.conditions.items():
            texts = [
                f"{_figure(cells[light].accuracy)} of {cells[light].frames}"
                if light in cells
                else NOTHING
                for light in lights
            ]
            rows.append((result.name, state, *texts))
    return _table(("set", "state", *lights), rows) if rows else ""


def _retrieval_table(retrieval: Mapping[str, Sequence[RetrievalResult]]) -> str:
    head = (
        "collection",
        "model",
        "hit rate@1",
        "@5",
        "@10",
        "@100",
        "recall@10",
        "@100",
        "precision@5",
        "@10",
        "mAP",
    )
    rows = [
        (
            one.name,
            model,
            *map(
                _figure,
                (
                    one.hit_rate_at_1,
                    one.hit_rate_at_5,
                    one.hit_rate_at_10,
                    one.hit_rate_at_100,
                    one.recall_at_10,
                    one.recall_at_100,
                    one.precision_at_5,
                    one.precision_at_10,
                    one.mean_average_precision,
                ),
            ),
        )
        for model, collections in retrieval.items()
        for one in collections
    ]
    return _table(head, sorted(rows)) if rows else ""


def _title(result: MethodResult) -> str:
    words = _TITLES.get(result.method, result.method)
    if result.model is not None:
        words += f", {result.model}"
    level = THRESHOLDS.get(result.method) if result.threshold is None else result.threshold
    return words if level is None else f"{words}, from {level:g}"


def _short_title(result: MethodResult) -> str:
    words = result.method if result.model is None else f"{result.method}, {result.model}"
    return words if result.threshold is None else f"{words}, {result.threshold:g}"


def _sureness(result: MethodResult) -> str:
    states = result.states or ()
    share = _mean([result.sure_share for result in states])
    right = _mean([result.sure_accuracy for result in states])
    if share is None or right is None:
        return ""
    return (
        f"What edge_sim says with a confidence of 0.9 or more ({100 * share:.0f} % of the "
        f"pictures) is right {100 * right:.1f} % of the time."
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _figure(value: float | None, places: int = 3) -> str:
    return NOTHING if value is None else f"{value:.{places}f}"


def _named(value: float | None, name: str | None) -> str:
    return NOTHING if value is None else f"{value:.3f} ({name})"


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


BEGIN = "<!-- measured: begin, written by tools/compare.py -->"
END = "<!-- measured: end -->"


def with_section(document: str, text: str) -> str:
    """Return the document with `text` between the two marks.

    Raises:
        DataError: The document has not each mark once, in order.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in tail or END in tail:
        raise DataError(f"the document needs the marks {BEGIN} and {END} once, in this order")
    return f"{head}{BEGIN}\n{text.strip()}\n{END}{tail}"
