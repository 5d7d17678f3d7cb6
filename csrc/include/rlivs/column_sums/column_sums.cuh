// Adds the partial sums of pass B, in an order that depends on nothing but the shapes.
#pragma once

#include "rlivs/column_sums/params.cuh"
#include "rlivs/platform.cuh"

namespace rlivs {

constexpr int kSumColumns = 32;  // columns a block: one warp reads 128 consecutive bytes
constexpr int kSumThreads = 256;

// Number of rows of the batch row that count; every thread of the block gets it.
RLIVS_DEVICE int counted_rows(const ColumnSumsParams& p, int batch, int* scratch) {
  if (p.row_mask == nullptr) return p.num_rows;
  int count = 0;
  for (int t = threadIdx.x; t < p.num_rows; t += kSumThreads) {
    count += p.row_mask[static_cast<int64_t>(batch) * p.num_rows + t] != 0;
  }
#pragma unroll
  for (int lanes = 1; lanes < kWarp; lanes *= 2) count += shuffle_xor(count, lanes);
  if (lane_index() == 0) store_shared(scratch + warp_index(), count);
  sync_block();
  count = 0;
  for (int warp = 0; warp < kSumThreads / kWarp; ++warp) count += load_shared(scratch + warp);
  return count;
}

// Grid: column blocks x outputs a batch row (1, or Hq per head) x B.
RLIVS_KERNEL(kSumThreads, 1) column_sums_kernel(RLIVS_PARAMETER ColumnSumsParams p) {
  constexpr int kWarps = kSumThreads / kWarp;
  float* partial = reinterpret_cast<float*>(dynamic_shared_memory());
  int* scratch = reinterpret_cast<int*>(partial + kSumThreads);

  const bool per_head = p.out_heads != 1 || p.num_heads == 1;
  const int heads = per_head ? 1 : p.packing.heads;  // matrices that one output adds up, in each layer
  const int column_blocks = (p.num_columns + kSumColumns - 1) / kSumColumns;
  int block = blockIdx.x;
  const int column = block % column_blocks * kSumColumns + lane_index();
  block /= column_blocks;
  const int out_head = block % p.out_heads;
  const int batch = block / p.out_heads;

  const int terms = p.num_layers * heads * p.row_splits;
  const bool is_max = p.reduction == Reduction::kMax;
  float total = 0.f;
  if (column < p.num_columns) {
#pragma unroll 4
    for (int term = warp_index(); term < terms; term += kWarps) {
      const int split = term % p.row_splits;
      const int head = term / p.row_splits % heads;
      const int layer = term / p.row_splits / heads;
      const int64_t matrix =
          (static_cast<int64_t>(layer) * p.batch + batch) * p.packing.heads + (per_head ? out_head : head);
      const float part = p.column_parts[(matrix * p.row_splits + split) * p.num_columns + column];
      total = is_max ? max_keep_nan(total, part) : total + part;
    }
  }
  store_shared(partial + threadIdx.x, total);
  float scale = 1.f;
  if (p.reduction == Reduction::kMean) {
    const int rows = counted_rows(p, batch, scratch);
    const int heads_averaged = per_head ? 1 : p.num_heads;
    scale = rows == 0 ? 0.f : 1.f / (static_cast<float>(p.num_layers) * heads_averaged * rows);
  }
  sync_block();
  if (warp_index() == 0 && column < p.num_columns) {
#pragma unroll
    for (int warp = 1; warp < kWarps; ++warp) {
      const float part = load_shared(partial + warp * kWarp + lane_index());
      total = is_max ? max_keep_nan(total, part) : total + part;
    }
    p.out[(static_cast<int64_t>(batch) * p.out_heads + out_head) * p.num_columns + column] = total * scale;
  }
}

}  // namespace rlivs
