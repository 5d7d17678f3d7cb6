// What one launch of the decode kernels reads. Passed by value; plain data on the host and on the device.
#pragma once

#include <vector_types.h>

#include <cstdint>

#include "rlivs/block_table.cuh"
#include "rlivs/logit_scale.cuh"

namespace rlivs {

// In elements; the innermost stride is 1.
struct CacheStrides {
  int64_t batch;
  int64_t head;
  int64_t row;
};

struct DecodeParams {
  const void* query;  // [B, Hq, 1, D]
  const void* key;    // [B, Hkv, S, D], or blocks [num_blocks, Hkv, size, D]
  const void* value;  // as key
  CacheStrides query_strides;
  CacheStrides key_strides;
  CacheStrides value_strides;
  const int32_t* key_lengths;   // [B]
  const int32_t* key_start;     // [B] or null
  const int32_t* column_start;  // [B] or null: 0
  BlockTable table;             // of keys and values

  float* out_parts;   // [B, Hq, splits, D], relative to each part's maximum
  float2* lse_parts;  // [B, Hq, splits] of (maximum, sum)
  float* logits;      // [B, Hkv, N, padded_group] in units of log 2, or null: no scoring

  void* out;           // [B, Hq, 1, D]
  float* lse;          // [B, Hq], natural log
  float* column_sums;  // [B, N], added to, or null
  int64_t column_sums_stride;

  int batch;
  int num_heads;
  int num_kv_heads;
  int group;         // query heads a KV head
  int padded_group;  // ... rounded up to what the kernel's blocks serve
  int head_chunks;   // blocks that share a KV head's query heads
  int head_dim;
  int num_keys;     // S, the cache's capacity; of a table, all that it has room for
  int num_columns;  // N
  int splits;
  int sliding_window;  // 0: none
  LogitScale logit;
};

constexpr int kMaxDecodeSplits = 256;

}  // namespace rlivs
