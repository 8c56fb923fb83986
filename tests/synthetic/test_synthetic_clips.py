import cv2
import numpy as np
import pytest

from reid_dhm.synthetic.clips import write_clips

SMALL = {"num_people": 2, "pause": 1.5, "size": (96, 160), "fps": 8.0}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), **SMALL)


def frames_of(path) -> np.ndarray:
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    return np.stack(frames)


def test_every_camera_has_a_video_and_everybody_passes_it(clips):
    assert [clip.camid for clip in clips] == [1, 2]
    for clip in clips:
        frames = frames_of(clip.path)
        assert frames.shape[1:] == (96, 160, 3)
        assert len(frames) > clip.frames.max()
        assert set(clip.pids) == {1, 2}
        assert cv2.VideoCapture(str(clip.path)).get(cv2.CAP_PROP_FPS) == 8


def test_boxes_lie_where_something_stands_before_the_scene(clips):
    for clip in clips:
        frames = frames_of(clip.path).astype(np.int16)
        scene = np.median(frames, axis=0)
        differs = np.abs(frames - scene).max(axis=3) > 40
        inside = outside = 0
        for number in range(len(frames)):
            mask = np.zeros(differs.shape[1:], bool)
            for x1, y1, x2, y2 in clip.boxes[clip.frames == number].astype(int):
                mask[y1:y2, x1:x2] = True
                assert differs[number, y1:y2, x1:x2].mean() > 0.15
            inside += int(differs[number][mask].sum())
            outside += int(differs[number][~mask].sum())
        assert inside > 5 * outside  # bodies that are mostly out of the frame have no box


def test_people_walk_steadily_from_one_side_to_the_other(clips):
    for clip in clips:
        for pid in (1, 2):
            own = clip.boxes[clip.pids == pid]
            middles = own[:, [0, 2]].mean(axis=1)
            steps = np.diff(middles)
            assert (np.sign(steps) == np.sign(steps.sum())).mean() > 0.95
            assert np.ptp(middles) > 100


def test_boxes_are_inside_and_in_order(clips):
    for clip in clips:
        assert (np.diff(clip.frames) >= 0).all()
        assert (clip.boxes[:, :2] >= 0).all()
        assert (clip.boxes[:, 2:] <= (160, 96)).all()
        assert (clip.boxes[:, 2:] > clip.boxes[:, :2]).all()


def test_the_truth_file_says_the_same_in_motchallenges_way(clips):
    for clip in clips:
        rows = np.loadtxt(clip.truth, delimiter=",", ndmin=2)
        np.testing.assert_array_equal(rows[:, 0], clip.frames + 1)
        np.testing.assert_array_equal(rows[:, 1], clip.pids)
        np.testing.assert_allclose(rows[:, 2:4], clip.boxes[:, :2] + 1)
        np.testing.assert_allclose(rows[:, 4:6], clip.boxes[:, 2:] - clip.boxes[:, :2])
        np.testing.assert_array_equal(rows[:, 6:], 1)


def test_a_seed_fixes_every_frame_and_another_gives_other_people(clips, tmp_path):
    again = write_clips(tmp_path / "same", **SMALL)
    other = write_clips(tmp_path / "other", **SMALL, seed=1)
    for clip, same, different in zip(clips, again, other, strict=True):
        assert same.path.read_bytes() == clip.path.read_bytes()
        assert same.truth.read_bytes() == clip.truth.read_bytes()
        assert different.path.read_bytes() != clip.path.read_bytes()


def test_cameras_see_another_scene(clips):
    first, second = (np.median(frames_of(clip.path), axis=0) for clip in clips)
    assert np.abs(first - second).mean() > 10


def test_nothing_half_written_stays(clips):
    folder = clips[0].path.parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "camera1.avi",
        "camera1.gt.txt",
        "camera2.avi",
        "camera2.gt.txt",
    ]


def test_boxes_are_those_of_the_person_they_overlap_most(clips):
    clip = clips[0]
    for pid in (1, 2):
        own = clip.pids == pid
        frames, boxes = clip.frames[own], clip.boxes[own]
        assert clip.pid_of(frames, boxes + 2) == pid
        assert clip.pid_of(frames, boxes[:, [0, 1, 0, 1]] + [0, 0, 3, 3]) == 0  # hardly any overlap
        assert clip.pid_of(frames + 10_000, boxes) == 0
        mixed = np.concatenate([boxes, clip.boxes[~own][:3]])
        assert clip.pid_of(np.concatenate([frames, clip.frames[~own][:3]]), mixed) == pid
