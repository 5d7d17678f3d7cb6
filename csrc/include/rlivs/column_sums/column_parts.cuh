// Pass B. Column sums of exp2(logit - maximum) / sum, split over row ranges.
//
// A block keeps one tile of scored keys and streams its share of the packed rows past it. Keys lie on the
// accumulators' M side, so a thread needs one running sum for each of its few keys, whatever the number of
// rows. The scored columns usually precede every row, then no element is masked; a tile of rows that meets
// the causal border, padding, a window or masked rows takes the checked path. Partials leave in a fixed
// place, column_sums_kernel adds them in a fixed order: no atomics, the same bits every run. Bound: tensor
// cores and exponentials, 2 * D flops and one exponential an element, at reads of a few megabytes.
#pragma once

#include "rlivs/column_sums/row_sources.cuh"
#include "rlivs/column_sums/visibility.cuh"
#include "rlivs/logits.cuh"

namespace rlivs {

template <class Tiles>
RLIVS_HOST_DEVICE constexpr int record_bytes() {
  return record_floats(Tiles::kStream) * static_cast<int>(sizeof(float));
}

template <class Tiles>
RLIVS_HOST_DEVICE constexpr int column_parts_shared_bytes(int head_dim) {
  return Tiles::shared_bytes(head_dim) + Tiles::kStages * record_bytes<Tiles>();
}

template <class Tiles>
RLIVS_KERNEL(Tiles::kThreads, Tiles::kMinBlocks)
column_parts_kernel(RLIVS_PARAMETER ColumnSumsParams p) {
  using Element = typename Tiles::Element;
  unsigned char* memory = dynamic_shared_memory();
  unsigned char* records = memory + Tiles::shared_bytes(p.head_dim);

  const int column_tiles = (p.num_columns + Tiles::kResident - 1) / Tiles::kResident;
  int block = blockIdx.x;
  const int column_tile = block % column_tiles;
  block /= column_tiles;
  const int split = block % p.row_splits;
  block /= p.row_splits;
  const int matrix_head = block % p.packing.heads;
  block /= p.packing.heads;
  const int batch = block % p.batch;
  const int layer_index = block / p.batch;
  const Layer& layer = p.layers[layer_index];
  const int64_t matrix =
      (static_cast<int64_t>(p.first_layer + layer_index) * p.batch + batch) * p.packing.heads + matrix_head;

  const int rows = p.packing.rows;
  const int tiles = (rows + Tiles::kStream - 1) / Tiles::kStream;
  const int tile_begin = piece_begin(tiles, split, p.row_splits);
  const int tile_end = piece_begin(tiles, split + 1, p.row_splits);
  const Visibility visible(p, batch);
  const int column0 = column_tile * Tiles::kResident;
  const int key0 = p.column_start[batch] + column0;
  const int key_end = key0 + minimum(Tiles::kResident, p.num_columns - column0);

  float total[Tiles::kRows];
#pragma unroll
  for (int i = 0; i < Tiles::kRows; ++i) total[i] = 0.f;

  Tiles tile_product(p.head_dim);
  with_key_rows<Element>(p, layer, batch, matrix_head / p.packing.kv_divisor, key0, 0, p.num_keys,
                         [&](const auto& keys) { tile_product.copy_resident(memory, keys); });
  copy_async_commit();
  copy_async_wait<0>();
  sync_block();
  tile_product.keep_resident(memory);
  sync_block();  // the stages may overlay the resident rows

  const QueryRows queries = query_rows<Element>(layer, p.packing, batch, matrix_head);
  const auto copy_tile = [&](int tile) {
    if (tile < tile_end) {
      const int slot = tile - tile_begin;
      tile_product.copy_streamed(tile_product.stage(memory, slot), rows_from(queries, tile * Tiles::kStream));
      constexpr int kBytes = record_bytes<Tiles>();
      if (threadIdx.x < kBytes / 16) {
        const unsigned char* record =
            reinterpret_cast<const unsigned char*>(p.row_records) + (matrix * tiles + tile) * kBytes;
        copy_async_16(shared_address(records + slot % Tiles::kStages * kBytes) + threadIdx.x * 16,
                      record + threadIdx.x * 16);
      }
    }
    copy_async_commit();
  };
  for (int ahead = 0; ahead < Tiles::kStages - 1; ++ahead) copy_tile(tile_begin + ahead);

  for (int tile = tile_begin; tile < tile_end; ++tile) {
    copy_async_wait<Tiles::kStages - 2>();
    sync_block();
    copy_tile(tile + Tiles::kStages - 1);

    const int slot = tile - tile_begin;
    const unsigned char* stage = tile_product.stage(memory, slot);
    const float* record = reinterpret_cast<const float*>(records + slot % Tiles::kStages * record_bytes<Tiles>());
    const int counting = static_cast<int>(load_shared(record + 2 * Tiles::kStream));
    const int row0 = tile * Tiles::kStream;
    const int t_first = p.packing.group.divide(row0);
    const int t_last = p.packing.group.divide(minimum(row0 + Tiles::kStream, rows) - 1);
    if (counting == kNoRowCounts || key0 >= visible.end(t_last) || key_end <= visible.begin(t_first)) continue;
    const bool unchecked = counting == kAllRowsCount && key0 >= visible.begin(t_last) &&
                           key_end <= visible.end(t_first) && p.reduction != Reduction::kMax;
#pragma unroll 1
    for (int chunk = 0; chunk < Tiles::kStream / Tiles::kChunk; ++chunk) {
      float acc[Tiles::kRows][Tiles::kColumns];
      float2 row[Tiles::kColumns];
      tile_product.multiply(acc, stage, chunk);
      const float factor = transform_logits(acc, p.logit);
      Tiles::load_columns(row, reinterpret_cast<const float2*>(record) + chunk * Tiles::kChunk);
      if (unchecked) {
#pragma unroll
        for (int j = 0; j < Tiles::kColumns; ++j) {
#pragma unroll
          for (int i = 0; i < Tiles::kRows; ++i) {
            total[i] = fmaf(exp2_fast(fmaf(acc[i][j], factor, -row[j].x)), row[j].y, total[i]);
          }
        }
      } else {
#pragma unroll
        for (int j = 0; j < Tiles::kColumns; ++j) {
          const int t = p.packing.group.divide(row0 + chunk * Tiles::kChunk + Tiles::column(j));
          const bool counts = row[j].x != INFINITY;
          const int row_begin = visible.begin(t), row_end = counts ? visible.end(t) : 0;
#pragma unroll
          for (int i = 0; i < Tiles::kRows; ++i) {
            const int key = key0 + Tiles::row(i);
            const float weight =
                key >= row_begin && key < row_end ? exp2_fast(fmaf(acc[i][j], factor, -row[j].x)) * row[j].y : 0.f;
            total[i] = p.reduction == Reduction::kMax ? max_keep_nan(total[i], weight) : total[i] + weight;
          }
        }
      }
    }
  }
  copy_async_wait<0>();

  float* parts = p.column_parts + (matrix * p.row_splits + split) * p.num_columns;
#pragma unroll
  for (int i = 0; i < Tiles::kRows; ++i) {
#pragma unroll
    for (int lanes = 1; lanes < Tiles::kLanesPerRow; lanes *= 2) {
      const float other = shuffle_xor(total[i], lanes);
      total[i] = p.reduction == Reduction::kMax ? max_keep_nan(total[i], other) : total[i] + other;
    }
    const int column = column0 + Tiles::row(i);
    if (lane_index() % Tiles::kLanesPerRow == 0 && column < p.num_columns) parts[column] = total[i];
  }
}

}  // namespace rlivs
