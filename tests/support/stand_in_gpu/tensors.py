"""Tensors that say they are on a GPU and hold their numbers in the host's memory, and what runs on them."""

from __future__ import annotations

import functools
import threading
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from stand_in_gpu.graphs import Call, Capture
from stand_in_gpu.streams import Allocation, Device, size_of

CPU, META = torch.device("cpu"), torch.device("meta")
# Operations whose result the host, or the shape of a tensor, depends on.
READ_BY_THE_HOST = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2", "unique_dim"}
READ_BY_THE_HOST |= {"unique_consecutive", "bincount", "allclose"}
COPIES = {"copy_", "_to_copy"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}
# Beside the pointwise ones, what takes a number from the host as a tensor without dimensions.
TAKES_A_NUMBER = {"fill_", "masked_fill_", "index_put_", "_index_put_impl_", "index_fill_"}


def _histc(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return torch.histc(tensor.float(), *args, **kwargs).to(tensor.dtype)


def _softmax(tensor: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return torch.ops.aten._softmax(tensor.float() if half_to_float else tensor, dim, False)


# What a GPU can do and a CPU cannot: counting whole numbers, a softmax of halves in float32.
LACKING = {"histc": _histc, "_softmax": _softmax}


class GpuTensor(Tensor):
    """On cuda:0 or another; `held` has the numbers, `allocation` the memory it is a view of."""

    held: Tensor
    allocation: Allocation
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor, allocation: Allocation, device: torch.device):
        return Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
        )

    def __init__(self, held: Tensor, allocation: Allocation, device: torch.device) -> None:
        self.held, self.allocation = held, allocation

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return Runner.of_all.run(function, args, kwargs or {})

    def tolist(self):
        return self.cpu().tolist()

    def data_ptr(self):
        return self.held.data_ptr()

    def record_stream(self, stream):
        self.allocation.record_stream(stream)

    def __format__(self, spec):
        return self.item().__format__(spec) if self.dim() == 0 else object.__format__(self, spec)

    def __repr__(self, **options):
        return f"GpuTensor({self.held})"


class OnEveryThread(TorchDispatchMode):
    """Takes over what makes tensors on the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return Runner.of_all.run(function, args, kwargs or {})


class FlashAttention(TorchFunctionMode):
    """The memory of `scaled_dot_product_attention` by a flash kernel: the output, and a number a row and head."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is not torch.nn.functional.scaled_dot_product_attention:
            return function(*args, **(kwargs or {}))
        query, _, value = args
        assert (kwargs or {}).get("attn_mask") is None, "a mask keeps flash kernels away"
        batch, heads, rows, _ = query.shape
        lse = query.new_empty((batch, heads, rows), dtype=torch.float32)
        output = query.new_empty((batch, rows, heads, value.shape[3])).transpose(1, 2)
        del lse  # it lives beside the output
        return output


class Runner:
    """Runs operations on what GPU tensors hold, in the order of streams, and refuses what a GPU would refuse."""

    of_all: Runner

    def __init__(self, device: Device) -> None:
        self._device = device
        self.hollow = False
        self.pinned: dict[int, Tensor] = {}  # by address, and kept, so that no other tensor comes to lie there
        self._inside = threading.local()

    def run(self, function: Any, args: tuple, kwargs: dict) -> Any:
        if getattr(self._inside, "deep", False):
            return function(*args, **kwargs)
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        target = kwargs.get("device")
        if target is None:
            target = next((t.device for t in given if isinstance(t, GpuTensor)), CPU)
        else:
            target = torch.device(target)
            target = torch.device(target.type, target.index or 0) if target.type == "cuda" else target
        pinned = bool(kwargs.get("pin_memory"))
        if target.type != "cuda" and not pinned and not any(isinstance(t, GpuTensor) for t in given):
            return function(*args, **kwargs)
        if _is_made_of_others(function):
            with OnEveryThread():
                return function.decompose(*args, **kwargs)
        with self._device.lock:
            return self._run(function, args, dict(kwargs), given, target, pinned)

    def _run(
        self, function: Any, args: tuple, kwargs: dict, given: list[Tensor], target: torch.device, pinned: bool
    ) -> Any:
        device, name = self._device, function.overloadpacket.__name__
        stream = device.current
        if "device" in kwargs:
            kwargs["device"] = META if self.hollow and target != CPU else CPU
        if pinned:
            kwargs["pin_memory"] = False
        self._check_devices(function, name, given)
        written = _written(function, args, kwargs)
        later = self._waits(name, args, kwargs, given, target)
        capture: Capture | None = stream.capture if given or target.type == "cuda" else None
        if capture is None:
            stream.tick += 1
            for tensor in given:
                if isinstance(tensor, GpuTensor):
                    tensor.allocation.use(stream, any(tensor is one for one in written), name)
        if self.hollow and (name in READ_BY_THE_HOST or (name in COPIES and target == CPU)):
            raise RuntimeError(f"a hollow tensor has no numbers to read: {name}")
        held_args, held_kwargs = tree_map(self._held, (args, kwargs))
        if capture is not None:
            capture.before(given, written)
        if later:
            # a copy to the host that nobody waits for: its numbers arrive when the host waits
            source = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, held_args[1])
            arrive = _Arrival(held_args[0], source)
            stream.under_way.append((stream.tick, arrive))
            return args[0]
        self._inside.deep = True
        try:
            found = LACKING.get(name, function)(*held_args, **held_kwargs)
        finally:
            self._inside.deep = False
        result = self._results(found, given, target, capture)
        if pinned:
            self.pinned[result.data_ptr()] = result
        if capture is not None:
            capture.add(Call(LACKING.get(name, function), held_args, held_kwargs, found), given, result)
        return result

    def _check_devices(self, function: Any, name: str, given: list[Tensor]) -> None:
        devices = {t.device for t in given}
        if len(devices) < 2 or name in COPIES or (name in INDEXED and len(devices - {CPU}) == 1):
            return
        numbers = torch.Tag.pointwise in function.tags or name in TAKES_A_NUMBER
        onto_the_host = name.endswith("_") and given[0].device == CPU
        if not numbers or len(devices - {CPU}) > 1 or any(t.dim() for t in given if t.device == CPU) or onto_the_host:
            found = " and ".join(sorted(map(str, devices)))
            raise RuntimeError(f"Expected all tensors on one device, but found at least two devices, {found}: {name}")

    def _waits(self, name: str, args: tuple, kwargs: dict, given: list[Tensor], target: torch.device) -> bool:
        """Let the host wait where the operation makes it; whether it is a copy that arrives later."""
        on_gpu = any(isinstance(t, GpuTensor) for t in given)
        if not on_gpu and target == CPU:
            return False
        if name == "copy_":
            to_host = not isinstance(args[0], GpuTensor)
            across = to_host == isinstance(args[1], GpuTensor)
            host = args[0] if to_host else args[1]
            free = ((len(args) > 2 and args[2]) or kwargs.get("non_blocking")) and self._is_pinned(host)
            if across and not free:
                self._device.wait("copy_")
            return bool(across and free and to_host)
        if name == "_to_copy":
            if (target == CPU) == isinstance(args[0], GpuTensor) and not self._is_pinned(args[0]):
                self._device.wait("to")
        elif name in READ_BY_THE_HOST and on_gpu:
            self._device.wait(name)
        elif name in INDEXED:
            for index in args[1]:
                if index is not None and (index.dtype in (torch.bool, torch.uint8) or not isinstance(index, GpuTensor)):
                    self._device.wait(name)
        return False

    def _held(self, value: Any) -> Any:
        if isinstance(value, GpuTensor):
            return value.held
        # an index or a number of the host beside hollow tensors
        return value.to(META) if self.hollow and isinstance(value, Tensor) else value

    def _is_pinned(self, tensor: Tensor) -> bool:
        return not isinstance(tensor, GpuTensor) and tensor.untyped_storage().data_ptr() in self.pinned

    def _results(self, found: Any, given: list[Tensor], target: torch.device, capture: Capture | None) -> Any:
        homes = {t.held.untyped_storage()._cdata: t for t in given if isinstance(t, GpuTensor)}
        same = {id(t.held): t for t in given if isinstance(t, GpuTensor)}

        def wrap(one: Any) -> Any:
            if not isinstance(one, Tensor):
                return one
            if id(one) in same:
                wrapper = same[id(one)]
                if wrapper.shape != one.shape or wrapper.stride() != one.stride():
                    raise NotImplementedError("an operation changed a tensor's shape in place")
                return wrapper
            if target == CPU:
                return one
            home = homes.get(one.untyped_storage()._cdata)
            if home is not None:
                return GpuTensor(one, home.allocation, home.device)
            own = Allocation(self._device, size_of(one), self._device.current, capture is not None)
            return GpuTensor(one, own, target)

        return tree_map(wrap, found)


@functools.cache
def _is_made_of_others(function: Any) -> bool:
    """Where nothing is differentiated, such operations come whole."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), key)


class _Arrival:
    def __init__(self, target: Tensor, source: Tensor) -> None:
        self._target, self._source = target, source

    def __call__(self) -> None:
        self._target.copy_(self._source)


def _written(function: Any, args: tuple, kwargs: dict) -> list[Tensor]:
    """The tensors that the operation writes to, by its schema."""
    written = []
    for index, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[index] if index < len(args) else kwargs.get(argument.name)
            written += [t for t in tree_leaves(value) if isinstance(t, Tensor)]
    return written
