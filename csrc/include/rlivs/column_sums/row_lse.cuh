// Pass A. For every query row, the maximum and the sum of exponentials over its visible keys, split over keys.
//
// A block keeps 128 packed rows (r = t * group + g) and streams its share of the keys that any of them sees:
// the share is taken of the visible range as read on the device, so left padding, causality and a cache
// longer than its content leave no block idle. Each thread keeps its own maximum and sum over the columns it
// holds and moves the maximum only when a logit passes it by 2^8: no shuffles and about one exponential an
// element. Bound: tensor cores on an A100; on an H200, tensor cores through mma.sync and the exponentials
// are within a factor of two of each other.
#pragma once

#include "rlivs/column_sums/row_sources.cuh"
#include "rlivs/column_sums/visibility.cuh"
#include "rlivs/logits.cuh"

namespace rlivs {

constexpr float kMaximumSlack = 8.f;  // log 2: a sum of exponentials stays below 2^8 a key

template <int kLanes>
RLIVS_DEVICE void merge_row(float& highest, float& sum) {
#pragma unroll
  for (int lanes = 1; lanes < kLanes; lanes *= 2) {
    const float other_highest = shuffle_xor(highest, lanes);
    const float other_sum = shuffle_xor(sum, lanes);
    const float merged = fmaxf(highest, other_highest);
    sum = sum * exp2_fast(highest - merged) + other_sum * exp2_fast(other_highest - merged);
    highest = merged;
  }
}

template <class Tiles>
RLIVS_KERNEL(Tiles::kThreads, Tiles::kMinBlocks)
row_lse_kernel(RLIVS_PARAMETER ColumnSumsParams p) {
  unsigned char* memory = dynamic_shared_memory();
  const int rows = p.grouped.rows;
  const int row_tiles = (rows + Tiles::kResident - 1) / Tiles::kResident;
  int block = blockIdx.x;
  const int row_tile = block % row_tiles;
  block /= row_tiles;
  const int split = block % p.key_splits;
  block /= p.key_splits;
  const int kv_head = block % p.grouped.heads;
  block /= p.grouped.heads;
  const int batch = block % p.batch;
  const int layer_index = block / p.batch;
  const Layer& layer = p.layers[layer_index];

  const int row0 = row_tile * Tiles::kResident;
  const int t_first = p.grouped.group.divide(row0);
  const int t_last = p.grouped.group.divide(minimum(row0 + Tiles::kResident, rows) - 1);
  const Visibility visible(p, batch);
  const int begin = visible.begin(t_first), end = visible.end(t_last);
  int tiles = end > begin ? (end - begin + Tiles::kStream - 1) / Tiles::kStream : 0;

  if (p.row_mask != nullptr) {
    const int t = t_first + static_cast<int>(threadIdx.x);  // a group of 1 has the most time steps: kResident
    const bool counts = t <= t_last && p.row_mask[static_cast<int64_t>(batch) * p.num_rows + t] != 0;
    if (!sync_block_any(counts)) tiles = 0;
  }
  const int tile_begin = piece_begin(tiles, split, p.key_splits);
  const int tile_end = piece_begin(tiles, split + 1, p.key_splits);

  float highest[Tiles::kRows], sum[Tiles::kRows];
#pragma unroll
  for (int i = 0; i < Tiles::kRows; ++i) {
    highest[i] = kNoMaximum;
    sum[i] = 0.f;
  }

  if (tile_begin < tile_end) {
    using Element = typename Tiles::Element;
    Tiles tile_product(p.head_dim);
    tile_product.copy_resident(memory, rows_from(query_rows<Element>(layer, p.grouped, batch, kv_head), row0));
    copy_async_commit();
    copy_async_wait<0>();
    sync_block();
    tile_product.keep_resident(memory);
    sync_block();  // the stages may overlay the resident rows

    const auto copy_tile = [&](int tile) {
      if (tile < tile_end) {
        unsigned char* stage = tile_product.stage(memory, tile - tile_begin);
        with_key_rows<Element>(p, layer, batch, kv_head, begin + tile * Tiles::kStream, begin, end,
                               [&](const auto& keys) { tile_product.copy_streamed(stage, keys); });
      }
      copy_async_commit();
    };
    for (int ahead = 0; ahead < Tiles::kStages - 1; ++ahead) copy_tile(tile_begin + ahead);

    for (int tile = tile_begin; tile < tile_end; ++tile) {
      copy_async_wait<Tiles::kStages - 2>();
      sync_block();
      copy_tile(tile + Tiles::kStages - 1);

      const unsigned char* stage = tile_product.stage(memory, tile - tile_begin);
      const int key0 = begin + tile * Tiles::kStream;
      const bool all_visible = key0 >= visible.begin(t_last) && key0 + Tiles::kStream <= visible.end(t_first);
#pragma unroll 1
      for (int chunk = 0; chunk < Tiles::kStream / Tiles::kChunk; ++chunk) {
        float acc[Tiles::kRows][Tiles::kColumns];
        tile_product.multiply(acc, stage, chunk);
        const float factor = transform_logits(acc, p.logit);
        if (!all_visible) {
#pragma unroll
          for (int i = 0; i < Tiles::kRows; ++i) {
            const int t = p.grouped.group.divide(row0 + Tiles::row(i));
            const int row_begin = visible.begin(t), row_end = visible.end(t);
#pragma unroll
            for (int j = 0; j < Tiles::kColumns; ++j) {
              const int key = key0 + chunk * Tiles::kChunk + Tiles::column(j);
              if (key < row_begin || key >= row_end) acc[i][j] = -INFINITY;
            }
          }
        }
#pragma unroll
        for (int i = 0; i < Tiles::kRows; ++i) {
          float chunk_highest = acc[i][0];
#pragma unroll
          for (int j = 1; j < Tiles::kColumns; ++j) chunk_highest = fmaxf(chunk_highest, acc[i][j]);
          chunk_highest *= factor;
          if (chunk_highest > highest[i] + kMaximumSlack) {
            sum[i] *= exp2_fast(highest[i] - chunk_highest);
            highest[i] = chunk_highest;
          }
          float chunk_sum = 0.f;
#pragma unroll
          for (int j = 0; j < Tiles::kColumns; ++j) chunk_sum += exp2_fast(fmaf(acc[i][j], factor, -highest[i]));
          sum[i] += chunk_sum;
        }
      }
    }
    copy_async_wait<0>();
  }

  const int64_t matrix =
      (static_cast<int64_t>(p.first_layer + layer_index) * p.batch + batch) * p.grouped.heads + kv_head;
  const int64_t matrices = static_cast<int64_t>(p.num_layers) * p.batch * p.grouped.heads;
  float2* parts = p.lse_parts + (split * matrices + matrix) * rows;
#pragma unroll
  for (int i = 0; i < Tiles::kRows; ++i) {
    merge_row<Tiles::kLanesPerRow>(highest[i], sum[i]);
    const int row = row0 + Tiles::row(i);
    if (lane_index() % Tiles::kLanesPerRow == 0 && row < rows) parts[row] = make_float2(highest[i], sum[i]);
  }
}

}  // namespace rlivs
