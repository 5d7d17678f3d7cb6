#include "decode_attention.h"

#include <algorithm>
#include <stdexcept>

#include "decode_attention_kernels.h"
#include "splits.h"

namespace rlivs {
namespace {

// Reading the query, filling the stages and merging the warps take about as long as this many tiles.
constexpr double kStartSteps = 2.0;

const DecodeKernels& kernels_of(const DecodeShape& shape) {
  if (shape.type == ElementType::kFloat) return decode_float;
  const bool half = shape.type == ElementType::kHalf;
  const bool wide = shape.num_heads / shape.num_kv_heads > 8;
  switch (shape.head_dim) {
    case 64:
      return half ? (wide ? decode_half_64_16 : decode_half_64_8)
                  : (wide ? decode_bfloat16_64_16 : decode_bfloat16_64_8);
    case 80:
      return half ? (wide ? decode_half_80_16 : decode_half_80_8)
                  : (wide ? decode_bfloat16_80_16 : decode_bfloat16_80_8);
    case 96:
      return half ? (wide ? decode_half_96_16 : decode_half_96_8)
                  : (wide ? decode_bfloat16_96_16 : decode_bfloat16_96_8);
    case 128:
      return half ? (wide ? decode_half_128_16 : decode_half_128_8)
                  : (wide ? decode_bfloat16_128_16 : decode_bfloat16_128_8);
    case 256:
      return half ? decode_half_256_8 : decode_bfloat16_256_8;
    default:
      throw std::invalid_argument("head size " + std::to_string(shape.head_dim) + " has no CUDA kernel");
  }
}

int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

DecodePlan plan_decode(const DecodeShape& shape) {
  const DecodeKernels& kernels = kernels_of(shape);
  const int group = shape.num_heads / shape.num_kv_heads;
  DecodePlan plan{};
  plan.head_chunks = (group + kernels.heads - 1) / kernels.heads;
  plan.padded_group = plan.head_chunks * kernels.heads;

  // Scored or not, the same splits and so the same output bits.
  const int bytes = kernels.shared_bytes(shape.head_dim);
  const int blocks = std::min(blocks_per_multiprocessor("decode_split", kernels.split, kernels.threads, bytes),
                              blocks_per_multiprocessor("decode_split", kernels.scored_split, kernels.threads, bytes));
  const int64_t slots = static_cast<int64_t>(multiprocessors()) * blocks;
  const int64_t units = static_cast<int64_t>(shape.batch) * shape.num_kv_heads * plan.head_chunks;
  const int64_t steps = (static_cast<int64_t>(shape.num_keys) + kernels.tile - 1) / kernels.tile;
  plan.splits = choose_splits(units, steps, slots, kStartSteps, kMaxDecodeSplits);

  const int64_t rows = static_cast<int64_t>(shape.batch) * shape.num_heads * plan.splits;
  plan.out_parts = aligned(rows * shape.head_dim * static_cast<int64_t>(sizeof(float)));
  plan.lse_parts = aligned(rows * static_cast<int64_t>(sizeof(float2)));
  plan.logits = aligned(static_cast<int64_t>(shape.batch) * shape.num_kv_heads * shape.num_columns * plan.padded_group *
                        static_cast<int64_t>(sizeof(float)));
  return plan;
}

void launch_decode(const DecodeShape& shape, const DecodePlan& plan, DecodeParams p, void* workspace, Stream stream) {
  const DecodeKernels& kernels = kernels_of(shape);
  const bool scored = shape.num_columns > 0;
  auto* memory = static_cast<unsigned char*>(workspace);
  p.out_parts = reinterpret_cast<float*>(memory);
  p.lse_parts = reinterpret_cast<float2*>(memory + plan.out_parts);
  p.logits = scored ? reinterpret_cast<float*>(memory + plan.out_parts + plan.lse_parts) : nullptr;
  p.batch = shape.batch;
  p.num_heads = shape.num_heads;
  p.num_kv_heads = shape.num_kv_heads;
  p.group = shape.num_heads / shape.num_kv_heads;
  p.padded_group = plan.padded_group;
  p.head_chunks = plan.head_chunks;
  p.head_dim = shape.head_dim;
  p.num_keys = shape.num_keys;
  p.num_columns = shape.num_columns;
  p.splits = plan.splits;

  launch("decode_split", scored ? kernels.scored_split : kernels.split,
         static_cast<int64_t>(shape.batch) * shape.num_kv_heads * plan.head_chunks * plan.splits, kernels.threads,
         kernels.shared_bytes(shape.head_dim), stream, p);

  const DecodeSharedKernels& shared = decode_shared;
  const auto combine = shape.type == ElementType::kHalf       ? shared.combine_half
                       : shape.type == ElementType::kBFloat16 ? shared.combine_bfloat16
                                                              : shared.combine_float;
  const int64_t column_blocks = (shape.num_columns + shared.columns - 1) / shared.columns;
  launch("decode_combine", combine, static_cast<int64_t>(shape.batch) * (shape.num_heads + column_blocks),
         shared.threads, std::max(plan.splits, 2 * shape.num_heads) * static_cast<int>(sizeof(float)), stream, p);
}

}  // namespace rlivs
