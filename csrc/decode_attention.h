// decode_attention on the host: how the work is split, the workspace it takes, the launches.
#pragma once

#include <cstdint>

#include "column_sums.h"
#include "launch.h"
#include "rlivs/decode_attention/params.cuh"

namespace rlivs {

struct DecodeShape {
  ElementType type;
  int batch;
  int num_heads;
  int num_kv_heads;
  int num_keys;
  int num_columns;  // 0: no scoring
  int head_dim;
};

struct DecodePlan {
  int splits;
  int padded_group;
  int head_chunks;
  int64_t out_parts;  // bytes of each part of the workspace, multiples of 256
  int64_t lse_parts;
  int64_t logits;
  int64_t workspace_bytes() const { return out_parts + lse_parts + logits; }
};

// Of the current device; depends on shapes alone, so a captured graph stays valid while lengths grow.
DecodePlan plan_decode(const DecodeShape& shape);

// `p` comes with the caller's tensors and strides; the rest is filled in here.
void launch_decode(const DecodeShape& shape, const DecodePlan& plan, DecodeParams p, void* workspace, Stream stream);

}  // namespace rlivs
