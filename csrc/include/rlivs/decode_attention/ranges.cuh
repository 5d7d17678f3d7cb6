// Which keys, and which part of the work, a block has.
#pragma once

#include "rlivs/decode_attention/params.cuh"
#include "rlivs/platform.cuh"

namespace rlivs {

// Keys [begin, end) of a batch row, read on the device: a captured graph follows the caller's lengths.
struct KeyRange {
  int begin;
  int end;

  RLIVS_DEVICE KeyRange(const DecodeParams& p, int batch)
      : begin(p.key_start == nullptr ? 0 : maximum(p.key_start[batch], 0)),
        end(minimum(p.key_lengths[batch], p.num_keys)) {
    if (p.sliding_window != 0) begin = maximum(begin, p.key_lengths[batch] - p.sliding_window);
  }
};

// Blocks of a split kernel: splits x head chunks x KV heads x batch rows.
struct SplitBlock {
  int split;
  int head_chunk;
  int kv_head;
  int batch;

  RLIVS_DEVICE explicit SplitBlock(const DecodeParams& p) {
    int block = blockIdx.x;
    split = block % p.splits;
    block /= p.splits;
    head_chunk = block % p.head_chunks;
    block /= p.head_chunks;
    kv_head = block % p.num_kv_heads;
    batch = block / p.num_kv_heads;
  }
};

}  // namespace rlivs
