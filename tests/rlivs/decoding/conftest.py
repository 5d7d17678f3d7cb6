import pytest
import torch
from tiny_models import load_tiny_backbone


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    return load_tiny_backbone(tmp_path_factory.mktemp("tiny"), "llava_onevision")
