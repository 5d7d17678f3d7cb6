import shutil

import pytest
import torch
from tiny_models import save_tiny_checkpoint


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def saved_llava(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("llava") / "tiny", "llava_onevision")


@pytest.fixture
def checkpoint(saved_llava, tmp_path):
    """A copy of a whole LLaVA-OneVision checkpoint, free to be damaged."""
    return shutil.copytree(saved_llava, tmp_path / "tiny")
