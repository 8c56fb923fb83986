import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reid_dhm.service.batching import Batcher
from reid_dhm.service.errors import Busy


class Network:
    """Embeds an image as its first pixel; stands still while told to."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.begun = threading.Event()

    def __call__(self, images):
        self.batches.append(len(images))
        self.begun.set()
        assert self.go.wait(10)
        return np.array([image[0, 0, :1] for image in images], np.float32)


@pytest.fixture
def network():
    return Network()


def image(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def wait_for(condition) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.002)


def test_callers_get_their_own_embeddings_from_a_shared_batch(network):
    batcher = Batcher(network, batch=4)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher, [image(9)])
        network.begun.wait(10)
        asked = [[image(10 * n + m) for m in range(1 + n % 2)] for n in range(5)]
        others = [pool.submit(batcher, images) for images in asked]
        wait_for(lambda: batcher.waiting == 7)
        network.go.set()
        assert first.result(10).tolist() == [[9]]
        for n, other in enumerate(others):
            assert other.result(10)[:, 0].tolist() == [10 * n + m for m in range(1 + n % 2)]
    assert network.batches[0] == 1
    assert sum(network.batches) == 8
    assert max(network.batches) <= 4
    assert len(network.batches) <= 4  # not one by one
    batcher.close()


def test_too_many_waiting_images_are_refused_at_once(network):
    batcher = Batcher(network, waiting=2)
    with ThreadPoolExecutor(4) as pool:
        running = pool.submit(batcher, [image(1)])
        network.begun.wait(10)
        waiting = pool.submit(batcher, [image(2), image(3)])
        wait_for(lambda: batcher.waiting == 2)
        with pytest.raises(Busy, match="embedding queue is full") as caught:
            batcher([image(4)])
        assert caught.value.headers["Retry-After"] == "1"
        network.go.set()
        assert len(running.result(10)) == 1
        assert len(waiting.result(10)) == 2
    batcher.close()


def test_nobody_waits_for_ever(network):
    batcher = Batcher(network, patience=0.05)
    with pytest.raises(Busy, match="takes too long"):
        batcher([image(1)])
    network.go.set()
    batcher.close()


def test_a_failing_network_fails_its_callers_and_goes_on():
    def embed(images):
        if images[0][0, 0, 0] == 13:
            raise RuntimeError("out of memory")
        return np.zeros((len(images), 1), np.float32)

    batcher = Batcher(embed)
    with pytest.raises(RuntimeError, match="out of memory"):
        batcher([image(13)])
    assert batcher([image(1)]).shape == (1, 1)
    batcher.close()


def test_closing_answers_who_waits_and_refuses_who_comes(network):
    batcher = Batcher(network)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(batcher, [image(7)])
        network.begun.wait(10)
        closing = pool.submit(batcher.close)
        wait_for(lambda: batcher._closed)
        with pytest.raises(Busy, match="stopping"):
            batcher([image(1)])
        network.go.set()
        assert waiting.result(10).tolist() == [[7]]
        closing.result(10)


def test_one_request_that_fails_spoils_no_other_of_its_batch(network):
    def embed(images):
        rows = network(images)
        if any(image[0, 0, 0] == 13 for image in images):
            raise RuntimeError("cannot embed 13")
        return rows

    batcher = Batcher(embed)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher, [image(1)])
        network.begun.wait(10)
        together = [pool.submit(batcher, [image(number)]) for number in (2, 13, 3)]
        wait_for(lambda: batcher.waiting == 3)
        network.go.set()
        assert first.result(10).tolist() == [[1]]
        assert together[0].result(10).tolist() == [[2]]
        assert together[2].result(10).tolist() == [[3]]
        with pytest.raises(RuntimeError, match="cannot embed 13"):
            together[1].result(10)
    batcher.close()


def test_a_network_that_returns_too_few_rows_fails_its_callers_and_goes_on():
    answers = [np.zeros((0, 1), np.float32), np.ones((1, 1), np.float32)]
    batcher = Batcher(lambda images: answers.pop(0))
    with pytest.raises(RuntimeError, match="0 embeddings for 1 images"):
        batcher([image(1)])
    assert batcher([image(1)]).tolist() == [[1]]
    batcher.close()


def test_what_nobody_waits_for_any_more_is_not_embedded(network):
    batcher = Batcher(network)
    gone = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batcher, [image(1)])
        network.begun.wait(10)
        abandoned = pool.submit(batcher, [image(2)], gone.is_set)
        wanted = pool.submit(batcher, [image(3)])
        wait_for(lambda: batcher.waiting == 2)
        gone.set()
        network.go.set()
        assert first.result(10).tolist() == [[1]]
        assert wanted.result(10).tolist() == [[3]]
        with pytest.raises(Busy):
            abandoned.result(10)
    assert sum(network.batches) == 2
    batcher.close()
