"""The attention function that a scored layer calls: the layer's own attention, then a look at its query and keys."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rlivs.errors import InputError
from rlivs.scoring.recorder import LayerRecorder

# Neither "flash", "sdpa" nor "flex_attention" may occur in the name, nor "/": transformers treats those specially.
IMPLEMENTATION = "rlivs_scoring"
_TAP = "_rlivs_tap"


def is_tapped(attention: Any) -> bool:
    return hasattr(attention, _TAP)


class Tap:
    """One attention module whose configuration names our function; the shared configuration is left alone."""

    def __init__(self, attention: Any, recorder: LayerRecorder) -> None:
        self.recorder = recorder
        self._attention = attention
        self._shared_config = attention.config
        self._own_config = copy.copy(attention.config)
        self._own_config._attn_implementation_internal = IMPLEMENTATION
        self._implementation = self._own_config._rlivs_implementation = attention.config._attn_implementation
        self._eager = inspect.unwrap(type(attention).forward).__globals__.get("eager_attention_forward")
        self._view = _OriginalView(attention, self._shared_config)
        self._original()

    def install(self) -> None:
        AttentionInterface.register(IMPLEMENTATION, _tapped_attention)
        AttentionMaskInterface.register(IMPLEMENTATION, _tapped_mask)
        setattr(self._attention, _TAP, self)
        self._attention.config = self._own_config
        self._hook = self._attention.register_forward_pre_hook(self.recorder.see_inputs, with_kwargs=True)

    def uninstall(self) -> None:
        self._hook.remove()
        if self._attention.config is self._own_config:
            self._attention.config = self._shared_config
        delattr(self._attention, _TAP)

    def check_unchanged(self) -> None:
        """Raises InputError if the model was given another attention since it was patched."""
        now = self._shared_config._attn_implementation
        own = self._attention.config
        if own is not self._own_config or own._attn_implementation != IMPLEMENTATION:
            now = own._attn_implementation
        elif now == self._implementation:
            return
        raise InputError(
            f"the attention implementation of layer {self.recorder.index} was changed from '{self._implementation}' to "
            f"'{now}' after patching; call remove() first, change it, then patch again"
        )

    def _original(self) -> Callable[..., Any]:
        function = ALL_ATTENTION_FUNCTIONS.get_interface(self._implementation, self._eager)
        if function is None:
            raise InputError(
                f"layer {self.recorder.index}'s {type(self._attention).__name__} has no eager attention to score over; "
                "load the model with attn_implementation='sdpa'"
            )
        return function

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: Any,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        self.check_unchanged()
        fused = self.recorder.attend(query, key, value, options)
        if fused is None:
            output = self._original()(self._view, query, key, value, attention_mask, **options)
        else:
            output = (fused, None)
        self.recorder.record(query, key, attention_mask, options)
        return output


class _OriginalView:
    """A module seen with its shared configuration: some implementations look up their own name in it."""

    def __init__(self, module: nn.Module, config: Any) -> None:
        self._module = module
        self.config = config

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Copying looks for these before there is a module to ask.
            raise AttributeError(name)
        return getattr(self._module, name)


def _tapped_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    return getattr(module, _TAP).attend(query, key, value, attention_mask, **options)


def _tapped_mask(*args: Any, config: Any, **options: Any) -> Any:
    # Reached only by models that build masks from a layer's own configuration; without it they would get no mask.
    return ALL_MASK_ATTENTION_FUNCTIONS[config._rlivs_implementation](*args, config=config, **options)
