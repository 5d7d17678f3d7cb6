"""What the paper leaves open: the kept tokens' positions, and layers calibrated from a few clips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rlivs.backbones.protocol import VisualTokens
from rlivs.config import CAPTION_PROMPT

from .answers import Encoder
from .footage import film
from .intervals import SHARE_COLUMNS
from .lab import Lab
from .plan import CHOOSING
from .tables import Table


def improvements(lab: Lab) -> list[Table]:
    """Positions: the kept tokens keep their rotary positions in the clip. Calibration: see `calibrated_layer`."""
    table = Table("improvements", "What the paper leaves open (6 % kept)", ("way", *SHARE_COLUMNS, "on things %"))
    visual, columns = lab.keep("attention", lab.plan.six_percent, lab.scores())
    share = lab.ask_clips(visual)
    table.add("as shipped: automatic layers, positions counted through", *share.cells(), lab.on_things(columns))
    places = [kept for kept in columns if kept is not None]
    share = lab.ask_clips(visual, places)
    table.add("kept tokens at their positions in the clip", *share.cells(), lab.on_things(columns))
    layer, losses = calibrated_layer(lab)
    visual, columns = lab.keep("attention", lab.plan.six_percent, lab.scores([layer]))
    share = lab.ask_clips(visual)
    table.add(f"calibrated layer {layer}", *share.cells(), lab.on_things(columns))
    chosen = Table(
        "calibration",
        "Calibration on other streams: how badly the kept tokens alone explain the model's own caption",
        ("layer", "loss a token"),
    )
    for number, loss in enumerate(losses):
        chosen.add(number, f"{loss:.3f}")
    return [table, chosen]


@torch.no_grad()
def calibrated_layer(lab: Lab) -> tuple[int, list[float]]:
    """The layer whose kept tokens best explain the model's own captions, without any truth, on the choosing streams."""
    plan = lab.plan
    footage = film(lab.backbone, CHOOSING, plan.choosing_streams, plan.choosing_clips, plan.side, plan.rate, lab.cache)
    other = Lab(lab.backbone, plan, footage, lab.cache)
    losses = []
    for layer in range(lab.depth):
        visual, _ = other.keep("attention", plan.six_percent, other.scores([layer]))
        found = [
            _loss(other, tokens, other.run.captions[s][c]) for tokens, (s, c) in zip(visual, other.clips, strict=True)
        ]
        losses.append(float(np.mean(found)))
    return int(np.argmin(losses)), losses


def _loss(lab: Lab, tokens: Tensor, caption: str) -> float:
    encoder = Encoder(lab.backbone)
    prompt = lab.backbone.caption_prompt(VisualTokens(tokens, lab.backbone.grid), (), CAPTION_PROMPT).inputs_embeds[0]
    ids = torch.tensor(encoder.answer(caption))
    model = lab.backbone.model
    sequence = torch.cat([prompt, model.get_input_embeddings()(ids[:-1])])[None]
    hidden = model.model.language_model(inputs_embeds=sequence, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[0, len(prompt) - 1 :]).float()
    return float(torch.nn.functional.cross_entropy(logits, ids))
