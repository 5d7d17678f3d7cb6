// Between the passes: one normaliser a row, in the order in which pass B streams the rows.
//
// Merges the partial (maximum, sum) pairs of pass A, or takes the caller's lse, and folds in everything that
// keeps a row from counting: the row mask, rows past the end of a tile, rows that see no key. Pass B then has
// one number a row to look at, and one word a tile that says whether it must look.
#pragma once

#include "rlivs/column_sums/params.cuh"
#include "rlivs/platform.cuh"

namespace rlivs {

// Log-sum-exp of row (t, head) in units of log 2; -inf: no key was seen.
RLIVS_DEVICE float row_normaliser(const ColumnSumsParams& p, int layer_index, int batch, int head, int t) {
  const Layer& layer = p.layers[layer_index];
  if (layer.lse != nullptr) {
    const Strides& s = layer.lse_strides;
    return layer.lse[batch * s.batch + static_cast<int64_t>(head) * s.head + static_cast<int64_t>(t) * s.row] * kLog2E;
  }
  const int group = p.grouped.group.divisor();
  const int kv_head = head / group;
  const int64_t matrix =
      (static_cast<int64_t>(p.first_layer + layer_index) * p.batch + batch) * p.grouped.heads + kv_head;
  const int64_t split_stride = static_cast<int64_t>(p.num_layers) * p.batch * p.grouped.heads * p.grouped.rows;
  const float2* parts = p.lse_parts + matrix * p.grouped.rows + t * group + (head - kv_head * group);
  float highest = kNoMaximum, sum = 0.f;
  for (int split = 0; split < p.key_splits; ++split) {
    const float2 part = parts[split * split_stride];
    const float merged = fmaxf(highest, part.x);
    sum = sum * exp2_fast(highest - merged) + part.y * exp2_fast(part.x - merged);
    highest = merged;
  }
  return sum == 0.f ? -INFINITY : highest + log2_exact(sum);
}

// One block a record, one thread a row.
RLIVS_KERNEL(64, 1) row_records_kernel(RLIVS_PARAMETER ColumnSumsParams p) {
  const int tiles = (p.packing.rows + p.record_rows - 1) / p.record_rows;
  int block = blockIdx.x;
  const int tile = block % tiles;
  block /= tiles;
  const int matrix_head = block % p.packing.heads;
  block /= p.packing.heads;
  const int batch = block % p.batch;
  const int layer_index = block / p.batch;

  const int row = tile * p.record_rows + static_cast<int>(threadIdx.x);
  float value = INFINITY;
  if (row < p.packing.rows) {
    const int t = p.packing.group.divide(row);
    const int head = matrix_head * p.packing.group.divisor() + row - t * p.packing.group.divisor();
    if (p.row_mask == nullptr || p.row_mask[static_cast<int64_t>(batch) * p.num_rows + t] != 0) {
      value = row_normaliser(p, layer_index, batch, head, t);
      if (value == -INFINITY) value = INFINITY;
    }
  }
  const bool any = sync_block_any(value != INFINITY);
  const bool all = sync_block_all(value != INFINITY);

  const int64_t matrix =
      (static_cast<int64_t>(p.first_layer + layer_index) * p.batch + batch) * p.packing.heads + matrix_head;
  float* record = p.lse_records + (matrix * tiles + tile) * (p.record_rows + kRecordExtra);
  record[threadIdx.x] = value;
  if (threadIdx.x < kRecordExtra) {
    record[p.record_rows + threadIdx.x] = static_cast<float>(all ? kAllRowsCount : any ? kSomeRowsCount : kNoRowCounts);
  }
}

}  // namespace rlivs
