"""What the tests of all figures share."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def drawn_texts(figure):
    """The texts that Agg draws: not the tick labels outside the view."""
    texts = {t for t in figure.findobj(Text) if t.get_visible() and t.get_text()}
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        outside = [t for t in axis.get_major_ticks() if not low <= t.get_loc() <= high]
        texts -= {label for tick in outside for label in (tick.label1, tick.label2)}
    return texts


def assert_every_text_is_readable(figure):
    """No text leaves the figure, and no two texts overlap."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = {
        repr(text): text.get_window_extent(canvas.get_renderer())
        for text in drawn_texts(figure)
    }
    assert len(boxes) >= 5
    slack = 3  # pixels by which a line's box is taller than its letters
    for text, box in boxes.items():
        assert box.x0 >= -slack and box.x1 <= figure.bbox.x1 + slack, text
        assert box.y0 >= -slack and box.y1 <= figure.bbox.y1 + slack, text
    for (text, box), (other, other_box) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(other_box), (text, other)
