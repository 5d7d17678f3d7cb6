// Between the passes: one normaliser a row, in the order in which pass B streams the rows.
//
// Merges the partial (maximum, sum) pairs of pass A, or takes the caller's lse, and folds in everything that
// keeps a row from counting: the row mask, rows past the end of a tile, rows that see no key. Pass B then has
// one number a row to look at, and one word a tile that says whether it must look.
#pragma once

#include "rlivs/column_sums/params.cuh"
#include "rlivs/platform.cuh"

namespace rlivs {

// Weight of a logit x, in units of log 2: exp2(x - maximum) * inverse. Kept apart, and not folded into one number, the
// two stay exact for logits of any size. A row that doesn't count has maximum +inf and inverse 0.
RLIVS_DEVICE float2 no_weight() { return make_float2(INFINITY, 0.f); }

RLIVS_DEVICE float2 row_normaliser(const ColumnSumsParams& p, int layer_index, int batch, int head, int t) {
  const Layer& layer = p.layers[layer_index];
  if (layer.lse != nullptr) {
    const Strides& s = layer.lse_strides;
    const float lse =
        layer.lse[batch * s.batch + static_cast<int64_t>(head) * s.head + static_cast<int64_t>(t) * s.row];
    if (lse == -INFINITY) return no_weight();
    const float maximum = multiply_rounded(lse, kLog2E);
    return make_float2(maximum, exp2_fast(fmaf(-lse, kLog2E, maximum)));
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
  if (sum == 0.f) return no_weight();
  // An infinite logit leaves a sum that is NaN: such a row counts, and makes its columns NaN.
  return make_float2(highest == INFINITY ? 0.f : highest, 1.f / sum);
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
  float2 value = no_weight();
  if (row < p.packing.rows) {
    const int t = p.packing.group.divide(row);
    const int head = matrix_head * p.packing.group.divisor() + row - t * p.packing.group.divisor();
    if (p.row_mask == nullptr || p.row_mask[static_cast<int64_t>(batch) * p.num_rows + t] != 0) {
      value = row_normaliser(p, layer_index, batch, head, t);
    }
  }
  const bool any = sync_block_any(value.x != INFINITY);
  const bool all = sync_block_all(value.x != INFINITY);

  const int64_t matrix =
      (static_cast<int64_t>(p.first_layer + layer_index) * p.batch + batch) * p.packing.heads + matrix_head;
  float* record = p.row_records + (matrix * tiles + tile) * record_floats(p.record_rows);
  reinterpret_cast<float2*>(record)[threadIdx.x] = value;
  if (threadIdx.x < kRecordExtra) {
    record[2 * p.record_rows + threadIdx.x] = static_cast<float>(all   ? kAllRowsCount
                                                                 : any ? kSomeRowsCount
                                                                       : kNoRowCounts);
  }
}

}  // namespace rlivs
