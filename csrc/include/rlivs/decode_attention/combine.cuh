// Second launch of a decode step: rebuilds the log-sum-exp from the splits, writes the output and adds the column
// sums. One block a query head for the output, then one block every 32 scored columns: wide enough to fill the
// chip at batch 1, and each column is added to by one thread alone, in a fixed order.
#pragma once

#include "rlivs/decode_attention/ranges.cuh"

namespace rlivs {

constexpr int kCombineThreads = 256;
constexpr int kCombineColumns = 32;
constexpr int kLanesPerColumn = kCombineThreads / kCombineColumns;

struct HeadNormaliser {
  float highest;
  float sum;
};

// Merged over the splits by 8 neighbouring lanes, all of which get the result.
RLIVS_DEVICE HeadNormaliser merge_splits(const float2* parts, int splits) {
  float highest = kNoMaximum, sum = 0.f;
#pragma unroll 4
  for (int split = lane_index() % 8; split < splits; split += 8) {
    const float2 part = parts[split];
    const float merged = fmaxf(highest, part.x);
    sum = sum * exp2_fast(highest - merged) + part.y * exp2_fast(part.x - merged);
    highest = merged;
  }
#pragma unroll
  for (int lanes = 1; lanes < 8; lanes *= 2) {
    const float other_highest = shuffle_xor(highest, lanes);
    const float other_sum = shuffle_xor(sum, lanes);
    const float merged = fmaxf(highest, other_highest);
    sum = sum * exp2_fast(highest - merged) + other_sum * exp2_fast(other_highest - merged);
    highest = merged;
  }
  return {highest, sum};
}

RLIVS_DEVICE void write_element(void* out, int64_t index, float value, float) {
  static_cast<float*>(out)[index] = value;
}
template <class Element>
RLIVS_DEVICE void write_element(void* out, int64_t index, float value, Element element) {
  static_cast<uint16_t*>(out)[index] = static_cast<uint16_t>(pack(value, 0.f, element));
}

template <class Element>
RLIVS_DEVICE void combine_output(const DecodeParams& p, int row, float* weights) {
  const float2* parts = p.lse_parts + static_cast<int64_t>(row) * p.splits;
  const HeadNormaliser all = merge_splits(parts, p.splits);
  for (int split = threadIdx.x; split < p.splits; split += kCombineThreads) {
    const float2 part = parts[split];
    // An empty split weighs 0 and its output is 0: no 0 * garbage. No key at all gives zeros.
    store_shared(weights + split, all.sum == 0.f ? 0.f : exp2_fast(part.x - all.highest) / all.sum);
  }
  sync_block();
  for (int dim = threadIdx.x; dim < p.head_dim; dim += kCombineThreads) {
    const float* out_part = p.out_parts + static_cast<int64_t>(row) * p.splits * p.head_dim + dim;
    float mixed = 0.f;
#pragma unroll 8
    for (int split = 0; split < p.splits; ++split) {
      mixed += load_shared(weights + split) * out_part[static_cast<int64_t>(split) * p.head_dim];
    }
    write_element(p.out, static_cast<int64_t>(row) * p.head_dim + dim, mixed, Element{});
  }
  if (threadIdx.x == 0) p.lse[row] = all.sum == 0.f ? -INFINITY : (all.highest + log2_exact(all.sum)) * kLn2;
}

RLIVS_DEVICE void add_columns(const DecodeParams& p, int batch, int column_block, float2* normalisers) {
  // Of each head: the maximum, in units of log 2, and the inverse of the sum.
  for (int first = 0; first < p.num_heads; first += kCombineThreads / 8) {
    const int head = first + static_cast<int>(threadIdx.x) / 8;
    const int row = batch * p.num_heads + minimum(head, p.num_heads - 1);  // whole warps, for the shuffles
    const HeadNormaliser all = merge_splits(p.lse_parts + static_cast<int64_t>(row) * p.splits, p.splits);
    if (head < p.num_heads && threadIdx.x % 8 == 0) {
      store_shared(normalisers + head, make_float2(all.highest, 1.f / all.sum));
    }
  }
  sync_block();
  const KeyRange keys(p, batch);
  const int column = column_block * kCombineColumns + static_cast<int>(threadIdx.x) / kLanesPerColumn;
  const int key = column + (p.column_start == nullptr ? 0 : p.column_start[batch]);
  const bool scored = column < p.num_columns && key >= keys.begin && key < keys.end;
  float total = 0.f;
  if (scored) {
    const int quads = p.padded_group / 4;
    for (int unit = threadIdx.x % kLanesPerColumn; unit < p.num_kv_heads * quads; unit += kLanesPerColumn) {
      const int kv_head = unit / quads, first = unit % quads * 4;
      const float4 four = *reinterpret_cast<const float4*>(
          p.logits +
          ((static_cast<int64_t>(batch) * p.num_kv_heads + kv_head) * p.num_columns + column) * p.padded_group + first);
      const float logit[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (first + e < p.group) {
          const float2 head = load_shared(normalisers + kv_head * p.group + first + e);
          total = fmaf(exp2_fast(logit[e] - head.x), head.y, total);
        }
      }
    }
  }
#pragma unroll
  for (int lanes = 1; lanes < kLanesPerColumn; lanes *= 2) total += shuffle_xor(total, lanes);
  if (scored && threadIdx.x % kLanesPerColumn == 0) p.column_sums[batch * p.column_sums_stride + column] += total;
}

// Shared memory: a float a split or two floats a head, whichever are more.
template <class Element>
RLIVS_KERNEL(kCombineThreads, 1)
decode_combine_kernel(RLIVS_PARAMETER DecodeParams p) {
  float* scratch = reinterpret_cast<float*>(dynamic_shared_memory());
  const int rows = p.batch * p.num_heads;
  int block = blockIdx.x;
  if (block < rows) {
    combine_output<Element>(p, block, scratch);
    return;
  }
  block -= rows;
  const int column_blocks = (p.num_columns + kCombineColumns - 1) / kCombineColumns;
  add_columns(p, block / column_blocks, block % column_blocks, reinterpret_cast<float2*>(scratch));
}

}  // namespace rlivs
