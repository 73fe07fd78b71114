"""Pictures of the network on a few frames, as in the paper, for launch.report."""

from collections.abc import Sequence as Items

import numpy as np

from data_pipeline.sequences import Dataset
from esat_jax.model_weights import load_model_weights
from esat_jax.report.film_strips import Boxes
from esat_jax.report.markup import Html, element, join
from esat_jax.report.network_views import make_viewer
from esat_jax.report.paper_figures import FigureFrame, correlation_figure, tracking_figure
from esat_jax.report.sequence_view import SequenceResults
from esat_jax.target import Target

CORRELATIONS = (
    "Similarity of every token with every other, the template's first (as Fig. 1 of the paper): "
    "the template with itself upper left, the search crop with itself lower right. Cosines; for "
    "the learned positions, how much the predictions of the position head overlap. No candidate is "
    "eliminated here. Position embeddings are the same for every frame. Each picture goes from its "
    "own darkest percent to its lightest."
)
TRACKING = (
    "What the network makes of a search crop (as Fig. 5 of the paper): the cells that candidate "
    "elimination leaves, the attention of the template's centre in the last block (mean over "
    "heads), the main components of the final features, and the raw score map. Eliminated cells "
    "are white in the first, dark in the others."
)


class NetworkPictures:
    """The network of a weights file, on frames that it has searched."""

    def __init__(self, weights: str, tracker: str, dataset: Dataset) -> None:
        """Args: tracker: the one whose boxes say where it searched."""
        variables, self._config = load_model_weights(weights)
        self._view = make_viewer(self._config, variables)
        self._tracker, self._dataset = tracker, dataset

    def look(self, results: SequenceResults) -> FigureFrame:
        """The middle one of the frames that show the target.

        Raises: ValueError or OSError if frames cannot be read, or there is no box to search from.
        """
        sequence = self._dataset.find(results.name)
        present = np.flatnonzero(~results.absent[1:]) + 1
        if not len(present):
            raise ValueError(f"{results.name}: no frame after the first one shows the target.")
        i = int(present[len(present) // 2])
        first, frame = sequence.read_frame(0), sequence.read_frame(i)
        target = Target(self._config, sequence.boxes_xywh[0], *first.shape[:2])
        template_box = target.template_box_cxcywh()
        template = target.template_geometry.crop_image(first)
        boxes_xywh = results.boxes(self._tracker)
        target.box_xywh = boxes_xywh[i - 1]
        search = target.search_geometry(*frame.shape[:2]).crop_image(frame)
        place = list(results.boxes_xywh).index(self._tracker)
        boxes = [
            Boxes("truth", None, results.truth.boxes_xywh[i]),
            Boxes(self._tracker, place, boxes_xywh[i]),
        ]
        return FigureFrame(
            f"{results.name}, frame {i + 1}",
            template,
            search,
            frame,
            boxes,
            self._view(template, search, template_box),
        )


def network_pictures(looks: Items[FigureFrame]) -> list[tuple[str, Html]]:
    """Fig. 5 and Fig. 1 of every frame, named pieces of markup."""
    tracking = [tracking_figure(look) for look in looks]
    correlations = [correlation_figure(look, positions=look is looks[0]) for look in looks]
    pieces = []
    for title, note, figures in (
        ("Tracking", TRACKING, tracking),
        ("Correlations", CORRELATIONS, correlations),
    ):
        start = element("h3", title), element("p", note, class_="note")
        for look, figure in zip(looks, figures, strict=True):
            markup = join([start, element("h4", look.title), figure])
            pieces.append((f"{title.lower()}, {look.title}", markup))
            start = ()
    return pieces
