"""The environment report."""

import importlib
import json
import types

import torch

from rlivs_kernels import environment_report


def test_the_report_is_json_and_names_what_serves():
    report = environment_report()
    assert json.loads(json.dumps(report)) == report
    assert report["versions"]["torch"] == torch.__version__
    assert len(report["gpus"]) == torch.cuda.device_count()
    for operation in ("column_sums", "decode_attention"):
        served = report["backends"][operation]
        assert served["auto"] not in served["limits"]
        assert {"reference", "torch"}.isdisjoint(served["limits"])


def test_the_import_error_of_the_extension_is_kept(monkeypatch):
    from rlivs_kernels import cuda_module

    real = importlib.import_module

    def failing(name, *arguments):
        if name == "rlivs_kernels._cuda":
            raise ImportError("libcudart.so.99: cannot open shared object file")
        return real(name, *arguments)

    cuda_module.load.cache_clear()
    monkeypatch.setattr(importlib, "import_module", failing)
    try:
        extension = environment_report()["cuda_extension"]
    finally:
        cuda_module.load.cache_clear()
    assert extension["built"] is False
    assert "libcudart.so.99" in extension["error"]


def test_a_built_extension_names_its_architectures(monkeypatch):
    from rlivs_kernels import cuda_module

    built = types.ModuleType("rlivs_kernels._cuda")
    built.build_info = lambda: {"architectures": "80;90", "nvcc": "13.0"}
    monkeypatch.setattr(cuda_module, "load", lambda: built)
    extension = environment_report()["cuda_extension"]
    assert extension["built"] is True and extension["architectures"] == ["80", "90"] and extension["error"] is None
