"""Targets of the kernel tests, and poisoned memory."""

import fcntl
import os
import shutil

import pytest
import torch

from rlivs_kernels import triton_launch
from rlivs_kernels.triton_launch import Chip


def pytest_configure(config):
    # The interpreter computes in numpy, which warns of infinities that the kernels mean.
    config.addinivalue_line("filterwarnings", "ignore::RuntimeWarning:triton.runtime.interpreter")
    # Where the benchmark's peers are checked on a CPU.
    config.addinivalue_line("filterwarnings", "ignore:flex_attention called without torch.compile:UserWarning")


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """once(name, make): the folder `name`, filled by make(folder) in the first of xdist's workers that asks for it."""

    def made(name, make):
        root = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            root = root.parent
        folder = root / name
        with open(root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "made").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                (folder / "made").touch()
        return folder

    return made


@pytest.fixture(autouse=True)
def poisoned_memory():
    """torch.empty gives NaN, so that an output left unwritten shows."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


# Whose tiles and splits the interpreter computes with, if not its own of one multiprocessor.
CHIPS = {"A100": Chip((8, 0), 108, 163 * 1024), "H100": Chip((9, 0), 132, 227 * 1024)}


def pytest_generate_tests(metafunc):
    """`target` is (backend, device, dtype): all that this machine can run; those on a GPU are marked so."""
    if "target" not in metafunc.fixturenames:
        return
    halves, single, double = (torch.float16, torch.bfloat16), torch.float32, torch.float64
    targets = [("reference", "cpu", d) for d in (single, double)]
    targets += [("torch", "cpu", d) for d in (*halves, single, double)]
    if not torch.cuda.is_available():
        targets += [("triton", "cpu", torch.float16), ("triton", "cpu", torch.float16, "A100")]
        # Of float32 both chips have the same tiles.
        targets += [("triton", "cpu", torch.float16, "H100"), ("triton", "cpu", single, "H100")]
    on_gpu = [("torch", "cuda", d) for d in (torch.float16, single)]
    on_gpu += [(backend, "cuda", d) for backend in ("triton", "cuda") for d in (*halves, single)]
    given = [(target, ()) for target in targets] + [(target, pytest.mark.gpu) for target in on_gpu]
    named = [
        pytest.param(target, id="-".join(str(each).removeprefix("torch.") for each in target), marks=marks)
        for target, marks in given
    ]
    metafunc.parametrize("target", named, indirect=True)


@pytest.fixture
def target(request, monkeypatch):
    backend, device, dtype, *chip = request.param
    if chip:
        monkeypatch.setattr(triton_launch, "INTERPRETER", CHIPS[chip[0]])
    return backend, device, dtype
