"""Synthetic people, cameras, videos and re-ID datasets, each fixed by a seed."""

from reid_dhm.synthetic.cameras import Camera, draw_camera, photograph, render_scene
from reid_dhm.synthetic.people import Garment, Person, Pose, draw_person
from reid_dhm.synthetic.rendering import render_person
from reid_dhm.synthetic.writer import RECORD, write_synthetic

__all__ = [
    "RECORD",
    "Camera",
    "Garment",
    "Person",
    "Pose",
    "draw_camera",
    "draw_person",
    "photograph",
    "render_person",
    "render_scene",
    "write_synthetic",
]
