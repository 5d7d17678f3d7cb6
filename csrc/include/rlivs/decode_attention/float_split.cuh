// The split kernel of decode attention for fp32 inputs, in full precision, any head size up to 256: tiles of 64
// keys in shared memory, one thread a key and four heads for the logits, one thread a dimension for the output.
// Simple, not fast: fp32 caches are for checking.
#pragma once

#include "rlivs/decode_attention/ranges.cuh"
#include "rlivs/logits.cuh"

namespace rlivs {

struct FloatSplit {
  static constexpr int kThreads = 128;
  static constexpr int kHeads = 8;
  static constexpr int kTile = 64;
  static constexpr int kMaxHeadDim = 256;

  // Keys, then values in the same place; the query; the weights [head, key].
  RLIVS_HOST_DEVICE static constexpr int shared_bytes(int head_dim) {
    return (kTile * (head_dim + 4) + kHeads * head_dim + kHeads * kTile) * static_cast<int>(sizeof(float));
  }
};

RLIVS_DEVICE void copy_float_tile(float* to, const DecodeParams& p, const float* head, const CacheStrides& strides,
                                  int batch, int first, int last) {
  const int head_dim = p.head_dim, parts = head_dim / 4;
  for (int index = threadIdx.x; index < FloatSplit::kTile * parts; index += FloatSplit::kThreads) {
    const int row = index / parts, part = index % parts, key = minimum(first + row, last);
    const int64_t offset =
        p.table.in_blocks() ? p.table.place(batch, key).offset(strides.batch, strides.row) : key * strides.row;
    copy_async_16(shared_address(to + row * (head_dim + 4) + part * 4), head + offset + part * 4);
  }
  copy_async_commit();
  copy_async_wait<0>();
}

RLIVS_KERNEL(FloatSplit::kThreads, 1) float_split_kernel(RLIVS_PARAMETER DecodeParams p) {
  constexpr int kHeads = FloatSplit::kHeads, kTile = FloatSplit::kTile, kThreads = FloatSplit::kThreads;
  constexpr int kOwnDims = FloatSplit::kMaxHeadDim / kThreads;
  const int dims = p.head_dim, pitch = p.head_dim + 4, thread = threadIdx.x;
  float* cache = reinterpret_cast<float*>(dynamic_shared_memory());
  float* query = cache + kTile * pitch;
  float* weights = query + kHeads * dims;

  const SplitBlock block(p);
  const KeyRange keys(p, block.batch);
  const int first_head = block.head_chunk * kHeads;
  const int num_heads = minimum(kHeads, p.group - first_head);
  const int tiles = keys.end > keys.begin ? (keys.end - keys.begin + kTile - 1) / kTile : 0;
  const int tile_begin = piece_begin(tiles, block.split, p.splits);
  const int tile_end = piece_begin(tiles, block.split + 1, p.splits);
  const int first_entry = p.table.in_blocks() ? 0 : block.batch;
  const float* key_head =
      static_cast<const float*>(p.key) + first_entry * p.key_strides.batch + block.kv_head * p.key_strides.head;
  const float* value_head =
      static_cast<const float*>(p.value) + first_entry * p.value_strides.batch + block.kv_head * p.value_strides.head;
  const float* query_head = static_cast<const float*>(p.query) + block.batch * p.query_strides.batch +
                            (block.kv_head * p.group + first_head) * p.query_strides.head;
  const int first_column = p.column_start == nullptr ? 0 : p.column_start[block.batch];
  float* logits = p.logits == nullptr ? nullptr
                                      : p.logits +
                                            (static_cast<int64_t>(block.batch) * p.num_kv_heads + block.kv_head) *
                                                p.num_columns * p.padded_group +
                                            first_head;

  for (int index = thread; index < kHeads * dims; index += kThreads) {
    const int head = index / dims;
    store_shared(query + index, head < num_heads ? query_head[head * p.query_strides.head + index % dims] : 0.f);
  }
  float highest[kHeads], sum[kHeads], out[kHeads][kOwnDims];
#pragma unroll
  for (int g = 0; g < kHeads; ++g) {
    highest[g] = kNoMaximum;
    sum[g] = 0.f;
#pragma unroll
    for (int i = 0; i < kOwnDims; ++i) out[g][i] = 0.f;
  }

  for (int tile = tile_begin; tile < tile_end; ++tile) {
    const int first = keys.begin + tile * kTile;
    copy_float_tile(cache, p, key_head, p.key_strides, block.batch, first, keys.end - 1);
    sync_block();
    {
      const int row = thread % kTile, first_own = thread / kTile * (kHeads / 2), key = first + row;
      float dot[1][kHeads / 2] = {};
      for (int d = 0; d < dims; d += 4) {
        const float4 k = load_shared(reinterpret_cast<const float4*>(cache + row * pitch + d));
#pragma unroll
        for (int g = 0; g < kHeads / 2; ++g) {
          const float4 q = load_shared(reinterpret_cast<const float4*>(query + (first_own + g) * dims + d));
          dot[0][g] += q.x * k.x;
          dot[0][g] += q.y * k.y;
          dot[0][g] += q.z * k.z;
          dot[0][g] += q.w * k.w;
        }
      }
      const float factor = transform_logits(dot, p.logit);
      const int column = key - first_column;
#pragma unroll
      for (int g = 0; g < kHeads / 2; ++g) {
        const float logit = key < keys.end ? dot[0][g] * factor : -INFINITY;
        store_shared(weights + (first_own + g) * kTile + row, logit);
        if (logits != nullptr && key < keys.end && column >= 0 && column < p.num_columns) {
          logits[static_cast<int64_t>(column) * p.padded_group + first_own + g] = logit;
        }
      }
    }
    sync_block();  // logits are there, keys are done with
    copy_float_tile(cache, p, value_head, p.value_strides, block.batch, first, keys.end - 1);
#pragma unroll
    for (int g = 0; g < kHeads; ++g) {
      const float* row = weights + g * kTile + lane_index() * 2;
      float tile_highest = fmaxf(load_shared(row), load_shared(row + 1));
#pragma unroll
      for (int lanes = 1; lanes < kWarp; lanes *= 2)
        tile_highest = fmaxf(tile_highest, shuffle_xor(tile_highest, lanes));
      const float merged = fmaxf(highest[g], tile_highest);
      const float rescale = exp2_fast(highest[g] - merged);
      highest[g] = merged;
      sum[g] = sum[g] * rescale + exp2_fast(load_shared(row) - merged) + exp2_fast(load_shared(row + 1) - merged);
#pragma unroll
      for (int i = 0; i < kOwnDims; ++i) out[g][i] *= rescale;
    }
    sync_block();
    for (int row = 0; row < kTile; ++row) {
      float v[kOwnDims];
#pragma unroll
      for (int i = 0; i < kOwnDims; ++i) {
        const int dim = thread + i * kThreads;
        v[i] = dim < dims ? load_shared(cache + row * pitch + dim) : 0.f;
      }
#pragma unroll
      for (int g = 0; g < kHeads; ++g) {
        const float weight = exp2_fast(load_shared(weights + g * kTile + row) - highest[g]);
#pragma unroll
        for (int i = 0; i < kOwnDims; ++i) out[g][i] += weight * v[i];
      }
    }
    sync_block();
  }

#pragma unroll
  for (int g = 0; g < kHeads; ++g) {
#pragma unroll
    for (int lanes = 1; lanes < kWarp; lanes *= 2) sum[g] += shuffle_xor(sum[g], lanes);
    if (g >= num_heads) continue;
    const int64_t part =
        (static_cast<int64_t>(block.batch) * p.num_heads + block.kv_head * p.group + first_head + g) * p.splits +
        block.split;
#pragma unroll
    for (int i = 0; i < kOwnDims; ++i) {
      const int dim = thread + i * kThreads;
      if (dim < dims) p.out_parts[part * dims + dim] = out[g][i];
    }
    if (thread == 0) p.lse_parts[part] = make_float2(highest[g], sum[g]);
  }
}

}  // namespace rlivs
