// What one launch of the column-sum kernels reads. Passed by value; plain data on the host and on the device.
#pragma once

#include <vector_types.h>

#include <cstdint>

#include "rlivs/block_table.cuh"
#include "rlivs/fast_divider.cuh"
#include "rlivs/logit_scale.cuh"

namespace rlivs {

// In elements; the innermost stride is 1, the others are multiples of 16 bytes.
struct Strides {
  int64_t batch;
  int32_t head;
  int32_t row;
};

struct Layer {
  const void* query;  // [B, Hq, T, D]
  const void* key;    // [B, Hkv, S, D], or blocks [num_blocks, Hkv, size, D]
  const float* lse;   // [B, Hq, T], natural log, or null: computed here
  Strides query_strides;
  Strides key_strides;
  Strides lse_strides;
};

// 32 layers of pointers stay under the 4 KiB of kernel parameters that every toolkit allows.
constexpr int kMaxLayersPerLaunch = 32;

enum class Reduction : int { kSum = 0, kMean = 1, kMax = 2 };

// How query rows are packed into the rows of one matrix: row = t * group + g.
struct RowPacking {
  int heads;          // matrices a batch row
  FastDivider group;  // query heads in one matrix
  int kv_divisor;     // matrices that share a KV head
  int rows;           // T * group
};

struct ColumnSumsParams {
  Layer layers[kMaxLayersPerLaunch];
  const int32_t* query_start;   // [B]
  const int32_t* key_start;     // [B] or null
  const int32_t* column_start;  // [B]
  const uint8_t* row_mask;      // [B, T] or null
  BlockTable table;             // of the keys of all layers
  float2* lse_parts;            // [key_splits, L, B, Hkv, T * G] of (maximum, sum)
  float* row_records;           // [L, B, packing.heads, row_tiles, record]
  float* column_parts;          // [L, B, packing.heads, row_splits, N]
  float* out;                   // [B, N] or [B, Hq, N]

  RowPacking grouped;  // of the row-LSE kernel: all query heads of a KV head together
  RowPacking packing;  // of the column kernel: the same, or every query head by itself
  LogitScale logit;

  int first_layer;  // of this launch, in the workspace
  int num_layers;   // in all launches
  int batch;
  int num_heads;
  int out_heads;  // 1, or num_heads: one result a head
  int head_dim;
  int num_rows;        // T
  int num_keys;        // S: of a table, all that it has room for
  int num_columns;     // N
  int sliding_window;  // 0: none
  int key_splits;
  int row_splits;
  int record_rows;  // rows of one lse record = streamed tile of the kernel that reads it
  Reduction reduction;
};

// A record is the normaliser of each row of a tile, two floats, then a word that says which rows count, and padding to
// 16 bytes.
constexpr int kRecordExtra = 4;
RLIVS_HOST_DEVICE constexpr int record_floats(int rows) { return 2 * rows + kRecordExtra; }
enum : int { kNoRowCounts = 0, kSomeRowsCount = 1, kAllRowsCount = 2 };

}  // namespace rlivs
