"""On a GPU or its stand-in: a service's streams and questions are those of a CPU, at once or one by one."""

import numpy as np
import pytest
import torch
from live_following import captions_until, wait_for_state
from tiny_models import load_tiny_backbone

from rlivs.backbones import load_backbone, preprocessing
from rlivs.decoding import graph
from rlivs.memory.store import CaptionStore
from rlivs.streaming import StreamingVideoQA
from rlivs.streaming.service import StreamService
from rlivs.video.live import open_source

NAMES = ("a", "b", "c")
QUESTIONS = (("What is red?", "memory"), ("What moves now?", "auto"), ("What is there?", "recent-frames"))


def served(backbone, config, film, in_thread):
    """What each stream remembers, its scores and the answers, after films were captioned under questions."""
    with StreamingVideoQA(backbone, CaptionStore.open(":memory:"), config) as engine:
        service = StreamService(engine)
        try:
            for name in NAMES:
                service.create(name)
            following = service.subscribe("a")
            for name in NAMES:
                service.attach(name, open_source(film))
            captions_until(following, 1)
            asked = [in_thread(service.ask, "a", question) for question, _ in QUESTIONS]
            for name in NAMES:
                wait_for_state(service, name, "ended")
            for thread in asked:
                thread.join()
            answers = [service.ask("b", question, answer_from=way).text for question, way in QUESTIONS]
            store = engine.store
            told = [[(c.text, c.num_tokens, c.selected) for c in store.captions(name)] for name in NAMES]
            scores = [store.scores(name, caption) for name in NAMES for caption in range(len(told[0]))]
        finally:
            service.close()
    return told, np.concatenate(scores), answers


@pytest.mark.parametrize("at_once", [1, 3])
def test_streams_under_questions(tmp_path, gpu, config, film, in_thread, monkeypatch, at_once):
    monkeypatch.setattr(preprocessing, "resize", preprocessing.resize_in_float)  # as a GPU rounds
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    on_cpu = load_tiny_backbone(tmp_path, "llava_onevision")
    on_gpu = load_backbone(tmp_path, device="cuda", dtype=torch.float32)
    expected, scores, answers = served(on_cpu, config, film, in_thread)
    options = config.model_copy(update={"captions_at_once": at_once})
    found, gpu_scores, gpu_answers = served(on_gpu, options, film, in_thread)
    assert found == expected and gpu_answers == answers
    assert len(expected[0]) == 9 and expected[0] == expected[1] == expected[2]
    np.testing.assert_allclose(gpu_scores, scores, rtol=1e-3, atol=1e-6)
    assert on_gpu.model.get_decoder() in graph._last_graphs
    assert on_gpu.model.get_decoder() not in graph._refused
