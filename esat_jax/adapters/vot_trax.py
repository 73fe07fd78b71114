r"""The tracker in VOT toolkits since 0.5, by their protocol "traxpython" (package vot-trax).

A workspace's trackers.ini:

    [esat]
    label = ESAT
    protocol = traxpython
    command = from esat_jax.adapters.vot_trax import serve; serve("/home/me/esat.safetensors")
    paths = /home/me/esat-jax
    timeout = 300

`paths` is this project's folder. The box stacks of several starts (vot2022/shorttermbox) need
toolkit 0.7.4 and this: their experiment fails in 0.8.0 and 0.9.0 whatever the tracker is.
"""

import trax

from esat_jax.adapters.vot import VotTracker


def serve(path: str) -> None:
    """Answers the toolkit over this process's standard streams until it says quit.

    Args: path: weights file, or folder of an ONNX export.
    Raises: ValueError if there is no tracker.
    """
    tracker = VotTracker(path)  # compiled before the toolkit hears of it
    calls = {trax.TraxStatus.INITIALIZE: tracker.init, trax.TraxStatus.FRAME: tracker.update}
    with trax.Server(
        [trax.Region.RECTANGLE], [trax.Image.PATH], tracker_name="ESAT", multiobject=True
    ) as server:
        while (request := server.wait()).type in calls:
            new = [(region.bounds(), properties) for region, properties in request.objects or []]
            found = calls[request.type](request.image["color"].path(), new)
            server.status([(trax.Rectangle.create(*box), values) for box, values in found])
