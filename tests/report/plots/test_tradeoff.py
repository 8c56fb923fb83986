"""Accuracy over speed: which models no other beats, and what the plot says."""

from reid_dhm.report.plots.tradeoff import Measured, accuracy_over_speed, front

MODELS = [
    Measured("small", 1000, 0.6, 0.5, 0.7),
    Measured("slow and worse", 900, 0.55, 0.55, 0.55),
    Measured("large", 100, 0.8, 0.75, 0.85),
    Measured("equal, slower", 90, 0.8, 0.8, 0.8),
]


def test_the_front_holds_whom_nobody_beats_in_both():
    assert [model.name for model in front(MODELS)] == ["small", "large"]
    assert front(MODELS[:1]) == MODELS[:1]


def test_the_plot_names_every_model_and_its_figures():
    drawing = accuracy_over_speed(MODELS, "TPR")
    for model in MODELS:
        assert model.name in drawing.svg
    assert "large 80.0% at 100 images/s" in drawing.words
    assert drawing.file.startswith("<svg")
    assert drawing.svg == accuracy_over_speed(MODELS, "TPR").svg  # byte by byte
