"""Model families: one file each, behind `rlivs.backbones.protocol.Backbone`."""

from rlivs.backbones.loading import load_backbone
from rlivs.backbones.protocol import Backbone, Prompt, VisualTokens

__all__ = ["Backbone", "Prompt", "VisualTokens", "load_backbone"]
