// The split kernel of decode attention on mma.sync m16n8k16: 16-bit inputs.
//
// Keys lie on the MMA's M side and the query heads of one KV head on its N side, padded to 8 (or 16): every key
// and value is read once for the whole group, and a group of 7 wastes an eighth and not nine sixteenths.
//   logits^T [16 keys, heads] = K Q^T      A = keys, B = query, kept in registers
//   out^T    [16 dims, heads] += V^T P^T   A = values through ldmatrix.trans, B = probabilities through movmatrix
// Each of the warps streams its own tiles of 16 keys through its own cp.async stages: no block barrier until
// the end. The splits share the range of keys read on the device, so a cache longer than its content leaves no
// block idle. With scoring, the logits of the scored columns leave in fp32, padded_group / D of the bytes of
// their K and V. Bound: bytes of K and V over memory bandwidth.
#pragma once

#include "rlivs/decode_attention/ranges.cuh"
#include "rlivs/logits.cuh"

namespace rlivs {

template <class Element_, int kHeadDim_, int kHeadTiles_>
struct TensorCoreSplit {
  using Element = Element_;
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kHeadTiles = kHeadTiles_;
  static constexpr int kHeads = 8 * kHeadTiles;
  static constexpr int kWarps = kHeadDim > 128 ? 2 : 4;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kTile = 16;  // keys a warp's tile
  // Under 100 KiB a block, which every GPU from sm_80 on has; on an A100 about 70 KiB are under way at a time.
  static constexpr int kStages = kHeadDim > 96 ? 2 : (kHeadDim > 64 ? 3 : 4);
  static constexpr int kRowBytes = kHeadDim * 2 + 16;  // odd in 16-byte units: no bank conflicts
  static constexpr int kParts = kHeadDim / 8;
  static constexpr int kSteps = kHeadDim / 16;
  static constexpr int kTileBytes = kTile * kRowBytes;
  static constexpr int kStageBytes = 2 * kTileBytes;
  static constexpr int kWarpBytes = kStages * kStageBytes;
  static constexpr int kOutPitch = kHeadDim + 4;  // floats

  RLIVS_HOST_DEVICE static constexpr int merge_bytes() {
    return kWarps * kHeads * (kOutPitch + 2) * static_cast<int>(sizeof(float));
  }
  RLIVS_HOST_DEVICE static constexpr int shared_bytes() {
    return kWarps * kWarpBytes > merge_bytes() ? kWarps * kWarpBytes : merge_bytes();
  }
};

// Copies the keys (or values) [first, first + 16) of a head; past `last`, the last again: it weighs 0 there.
template <class Config>
RLIVS_DEVICE void copy_cache_tile(unsigned char* to, const unsigned char* head, int64_t row_bytes, int first,
                                  int last) {
  const SharedAddress base = shared_address(to);
#pragma unroll
  for (int i = 0; i < Config::kTile * Config::kParts / kWarp; ++i) {
    const int index = lane_index() + i * kWarp;
    const int row = index / Config::kParts, part = index % Config::kParts;
    copy_async_16(base + row * Config::kRowBytes + part * 16,
                  head + minimum(first + row, last) * row_bytes + part * 16);
  }
}

// The same of keys and values in blocks.
template <class Config>
RLIVS_DEVICE void copy_tiles_in_blocks(unsigned char* keys, unsigned char* values, const DecodeParams& p,
                                       const unsigned char* key_head, const unsigned char* value_head, int batch,
                                       int first, int last) {
  const SharedAddress key_base = shared_address(keys), value_base = shared_address(values);
#pragma unroll
  for (int i = 0; i < Config::kTile * Config::kParts / kWarp; ++i) {
    const int index = lane_index() + i * kWarp;
    const int row = index / Config::kParts, part = index % Config::kParts;
    const BlockPlace place = p.table.place(batch, minimum(first + row, last));
    const int to = row * Config::kRowBytes + part * 16;
    copy_async_16(key_base + to, key_head + 2 * place.offset(p.key_strides.batch, p.key_strides.row) + part * 16);
    copy_async_16(value_base + to,
                  value_head + 2 * place.offset(p.value_strides.batch, p.value_strides.row) + part * 16);
  }
}

template <class Config, bool kScored>
RLIVS_KERNEL(Config::kThreads, 1)
tensor_core_split_kernel(RLIVS_PARAMETER DecodeParams p) {
  using Element = typename Config::Element;
  constexpr int kHeadTiles = Config::kHeadTiles, kSteps = Config::kSteps;
  unsigned char* memory = dynamic_shared_memory();
  unsigned char* stages = memory + warp_index() * Config::kWarpBytes;
  const int lane = lane_index();
  const SplitBlock block(p);
  const KeyRange keys(p, block.batch);
  const int first_head = block.head_chunk * Config::kHeads;  // within the group
  const int num_heads = minimum(Config::kHeads, p.group - first_head);

  const int tiles = keys.end > keys.begin ? (keys.end - keys.begin + Config::kTile - 1) / Config::kTile : 0;
  const int tile_begin = piece_begin(tiles, block.split, p.splits) + warp_index();
  const int tile_end = piece_begin(tiles, block.split + 1, p.splits);

  const int first_entry = p.table.in_blocks() ? 0 : block.batch;
  const unsigned char* key_head = static_cast<const unsigned char*>(p.key) +
                                  2 * (first_entry * p.key_strides.batch + block.kv_head * p.key_strides.head);
  const unsigned char* value_head = static_cast<const unsigned char*>(p.value) +
                                    2 * (first_entry * p.value_strides.batch + block.kv_head * p.value_strides.head);
  const auto copy_tile = [&](int tile, int slot) {
    if (tile < tile_end) {
      unsigned char* stage = stages + slot * Config::kStageBytes;
      const int first = keys.begin + tile * Config::kTile;
      if (p.table.in_blocks()) {
        copy_tiles_in_blocks<Config>(stage, stage + Config::kTileBytes, p, key_head, value_head, block.batch, first,
                                     keys.end - 1);
      } else {
        copy_cache_tile<Config>(stage, key_head, 2 * p.key_strides.row, first, keys.end - 1);
        copy_cache_tile<Config>(stage + Config::kTileBytes, value_head, 2 * p.value_strides.row, first, keys.end - 1);
      }
    }
    copy_async_commit();
  };
#pragma unroll
  for (int ahead = 0; ahead < Config::kStages - 1; ++ahead) copy_tile(tile_begin + ahead * Config::kWarps, ahead);

  // Operand B of the logits: head lane / 4, dims 2 * (lane % 4) + {0, 1} and + 8.
  uint32_t query[kHeadTiles][kSteps][2];
#pragma unroll
  for (int n = 0; n < kHeadTiles; ++n) {
    const int head = n * 8 + lane / 4;
    const int64_t offset = block.batch * p.query_strides.batch +
                           (block.kv_head * p.group + first_head + head) * p.query_strides.head + lane % 4 * 2;
    const uint32_t* from = reinterpret_cast<const uint32_t*>(static_cast<const uint16_t*>(p.query) + offset);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      query[n][step][0] = head < num_heads ? from[step * 8] : 0;
      query[n][step][1] = head < num_heads ? from[step * 8 + 4] : 0;
    }
  }

  // Of heads n * 8 + 2 * (lane % 4) + {0, 1}; out: dims lane / 4 and + 8 of each step of 16.
  float highest[kHeadTiles][2], sum[kHeadTiles][2], out[kHeadTiles][kSteps][4];
#pragma unroll
  for (int n = 0; n < kHeadTiles; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      highest[n][e] = kNoMaximum;
      sum[n][e] = 0.f;
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int e = 0; e < 4; ++e) out[n][step][e] = 0.f;
    }
  }
  float* logits = nullptr;
  int first_column = 0;
  if constexpr (kScored) {
    first_column = p.column_start == nullptr ? 0 : p.column_start[block.batch];
    logits = p.logits +
             (static_cast<int64_t>(block.batch) * p.num_kv_heads + block.kv_head) * p.num_columns * p.padded_group +
             first_head + lane % 4 * 2;
  }

  int slot = 0;
  for (int tile = tile_begin; tile < tile_end; tile += Config::kWarps) {
    copy_async_wait<Config::kStages - 2>();
    sync_warp();
    // The slot freed by the tile before this one.
    copy_tile(tile + (Config::kStages - 1) * Config::kWarps, slot == 0 ? Config::kStages - 1 : slot - 1);
    const unsigned char* stage = stages + slot * Config::kStageBytes;
    slot = slot + 1 == Config::kStages ? 0 : slot + 1;

    float acc[kHeadTiles][4] = {};
    const SharedAddress key_line = shared_address(stage) + lane % 16 * Config::kRowBytes + lane / 16 * 16;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t a[4];
      load_matrix_x4(a, key_line + step * 32);
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n) multiply_add(acc[n], a, query[n][step][0], query[n][step][1], Element{});
    }

    const float factor = transform_logits(acc, p.logit);
    const int first = keys.begin + tile * Config::kTile + lane / 4;
    uint32_t weights[kHeadTiles][2];
#pragma unroll
    for (int n = 0; n < kHeadTiles; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int key = first + half * 8;
        const bool valid = key < keys.end;
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          acc[n][half * 2 + e] = valid ? multiply_rounded(acc[n][half * 2 + e], factor) : -INFINITY;
        }
        if constexpr (kScored) {
          const int column = key - first_column;
          if (valid && column >= 0 && column < p.num_columns) {
            *reinterpret_cast<float2*>(logits + static_cast<int64_t>(column) * p.padded_group + n * 8) =
                make_float2(acc[n][half * 2], acc[n][half * 2 + 1]);
          }
        }
      }
      float rescale[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float tile_highest = fmaxf(acc[n][e], acc[n][e + 2]);
#pragma unroll
        for (int lanes = 4; lanes < kWarp; lanes *= 2)
          tile_highest = fmaxf(tile_highest, shuffle_xor(tile_highest, lanes));
        const float merged = fmaxf(highest[n][e], tile_highest);
        rescale[e] = exp2_fast(highest[n][e] - merged);
        highest[n][e] = merged;
        acc[n][e] = exp2_fast(acc[n][e] - merged);
        acc[n][e + 2] = exp2_fast(acc[n][e + 2] - merged);
        sum[n][e] = fmaf(sum[n][e], rescale[e], acc[n][e] + acc[n][e + 2]);
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
#pragma unroll
        for (int e = 0; e < 4; ++e) out[n][step][e] *= rescale[e % 2];
      }
      weights[n][0] = transpose_matrix(pack(acc[n][0], acc[n][1], Element{}));
      weights[n][1] = transpose_matrix(pack(acc[n][2], acc[n][3], Element{}));
    }

    const SharedAddress value_line =
        shared_address(stage + Config::kTileBytes) + (lane / 16 * 8 + lane % 8) * Config::kRowBytes + lane / 8 % 2 * 16;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t a[4];
      load_matrix_x4_transposed(a, value_line + step * 32);
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n) multiply_add(out[n][step], a, weights[n][0], weights[n][1], Element{});
    }
    sync_warp();  // the slot just read is the next to be overwritten
  }
  copy_async_wait<0>();
  sync_block();

  // The warps' results meet in shared memory, over the stages.
  float* warp_out = reinterpret_cast<float*>(memory);                                // [warp, head, dim]
  float* warp_lse = warp_out + Config::kWarps * Config::kHeads * Config::kOutPitch;  // [warp, head, 2]
#pragma unroll
  for (int n = 0; n < kHeadTiles; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
#pragma unroll
      for (int lanes = 4; lanes < kWarp; lanes *= 2) sum[n][e] += shuffle_xor(sum[n][e], lanes);
      const int row = warp_index() * Config::kHeads + n * 8 + lane % 4 * 2 + e;
      if (lane < 4) {
        store_shared(warp_lse + row * 2, highest[n][e]);
        store_shared(warp_lse + row * 2 + 1, sum[n][e]);
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        store_shared(warp_out + row * Config::kOutPitch + step * 16 + lane / 4, out[n][step][e]);
        store_shared(warp_out + row * Config::kOutPitch + step * 16 + lane / 4 + 8, out[n][step][e + 2]);
      }
    }
  }
  sync_block();
  for (int index = threadIdx.x; index < num_heads * Config::kHeadDim; index += Config::kThreads) {
    const int head = index / Config::kHeadDim, dim = index % Config::kHeadDim;
    float merged = kNoMaximum;
#pragma unroll
    for (int warp = 0; warp < Config::kWarps; ++warp) {
      merged = fmaxf(merged, load_shared(warp_lse + (warp * Config::kHeads + head) * 2));
    }
    float total = 0.f, mixed = 0.f;
#pragma unroll
    for (int warp = 0; warp < Config::kWarps; ++warp) {
      const int row = warp * Config::kHeads + head;
      const float weight = exp2_fast(load_shared(warp_lse + row * 2) - merged);
      total += weight * load_shared(warp_lse + row * 2 + 1);
      mixed += weight * load_shared(warp_out + row * Config::kOutPitch + dim);
    }
    const int64_t part =
        (static_cast<int64_t>(block.batch) * p.num_heads + block.kv_head * p.group + first_head + head) * p.splits +
        block.split;
    p.out_parts[part * Config::kHeadDim + dim] = mixed;
    if (dim == 0) p.lse_parts[part] = make_float2(merged, total);
  }
}

}  // namespace rlivs
