#include "column_sums.h"

#include <algorithm>
#include <stdexcept>

#include "column_sums_kernels.h"
#include "rlivs/constants.cuh"
#include "splits.h"

namespace rlivs {
namespace {

constexpr int kMostSplits = 16;
// Loading the resident rows and filling the stages takes about as long as this many streamed tiles.
constexpr double kStartSteps = 2.0;

const ColumnSumsKernels& kernels_of(const ColumnSumsShape& shape) {
  if (shape.type == ElementType::kFloat) return column_sums_float;
  const bool half = shape.type == ElementType::kHalf;
  switch (shape.head_dim) {
    case 64:
      return half ? column_sums_half_64 : column_sums_bfloat16_64;
    case 80:
      return half ? column_sums_half_80 : column_sums_bfloat16_80;
    case 96:
      return half ? column_sums_half_96 : column_sums_bfloat16_96;
    case 128:
      return half ? column_sums_half_128 : column_sums_bfloat16_128;
    case 256:
      return half ? column_sums_half_256 : column_sums_bfloat16_256;
    default:
      throw std::invalid_argument("head size " + std::to_string(shape.head_dim) + " has no CUDA kernel");
  }
}

int64_t tiles(int64_t count, int64_t size) { return (count + size - 1) / size; }

int64_t aligned(int64_t bytes) { return tiles(bytes, 256) * 256; }

RowPacking packing_of(const ColumnSumsShape& shape, bool per_head) {
  const int group = per_head ? 1 : shape.num_heads / shape.num_kv_heads;
  return {shape.num_heads / group, FastDivider(group), shape.num_heads / shape.num_kv_heads / group,
          shape.num_rows * group};
}

}  // namespace

ColumnSumsPlan plan_column_sums(const ColumnSumsShape& shape) {
  const ColumnSumsKernels& kernels = kernels_of(shape);
  const int64_t processors = multiprocessors();
  const RowPacking grouped = packing_of(shape, false), packing = packing_of(shape, shape.per_head);
  const int64_t matrices = static_cast<int64_t>(shape.layers) * shape.batch * packing.heads;
  const int64_t row_tiles = tiles(packing.rows, kernels.stream);

  ColumnSumsPlan plan{1, 1, 0, 0, 0};
  if (!shape.given_lse) {
    const int64_t grouped_matrices = static_cast<int64_t>(shape.layers) * shape.batch * grouped.heads;
    const int64_t slots = processors * blocks_per_multiprocessor("row_lse", kernels.row_lse, kernels.threads,
                                                                 kernels.row_lse_shared_bytes(shape.head_dim));
    plan.key_splits = choose_splits(grouped_matrices * tiles(grouped.rows, kernels.resident),
                                    tiles(shape.num_keys, kernels.stream), slots, kStartSteps, kMostSplits);
    plan.lse_parts = aligned(plan.key_splits * grouped_matrices * grouped.rows * static_cast<int64_t>(sizeof(float2)));
  }
  const int64_t slots = processors * blocks_per_multiprocessor("column_parts", kernels.column_parts, kernels.threads,
                                                               kernels.column_parts_shared_bytes(shape.head_dim));
  plan.row_splits =
      choose_splits(matrices * tiles(shape.num_columns, kernels.resident), row_tiles, slots, kStartSteps, kMostSplits);
  plan.row_records =
      aligned(matrices * row_tiles * record_floats(kernels.stream) * static_cast<int64_t>(sizeof(float)));
  plan.column_parts = aligned(matrices * plan.row_splits * shape.num_columns * static_cast<int64_t>(sizeof(float)));
  return plan;
}

void launch_column_sums(const ColumnSumsShape& shape, const ColumnSumsPlan& plan, const ColumnSumsArguments& arguments,
                        Stream stream) {
  const ColumnSumsKernels& kernels = kernels_of(shape);
  const ColumnSumsSharedKernels& shared = column_sums_shared;

  ColumnSumsParams p{};
  p.query_start = arguments.query_start;
  p.key_start = arguments.key_start;
  p.column_start = arguments.column_start;
  p.row_mask = arguments.row_mask;
  p.table = arguments.table;
  auto* workspace = static_cast<unsigned char*>(arguments.workspace);
  p.lse_parts = reinterpret_cast<float2*>(workspace);
  p.row_records = reinterpret_cast<float*>(workspace + plan.lse_parts);
  p.column_parts = reinterpret_cast<float*>(workspace + plan.lse_parts + plan.row_records);
  p.out = arguments.out;
  p.grouped = packing_of(shape, false);
  p.packing = packing_of(shape, shape.per_head);
  p.logit = LogitScale(arguments.scale, arguments.softcap);
  p.num_layers = shape.layers;
  p.batch = shape.batch;
  p.num_heads = shape.num_heads;
  p.out_heads = shape.per_head ? shape.num_heads : 1;
  p.head_dim = shape.head_dim;
  p.num_rows = shape.num_rows;
  p.num_keys = shape.num_keys;
  p.num_columns = shape.num_columns;
  p.sliding_window = arguments.sliding_window;
  p.key_splits = plan.key_splits;
  p.row_splits = plan.row_splits;
  p.record_rows = kernels.stream;
  p.reduction = arguments.reduction;

  const int row_lse_bytes = kernels.row_lse_shared_bytes(shape.head_dim);
  const int column_parts_bytes = kernels.column_parts_shared_bytes(shape.head_dim);
  for (int first = 0; first < shape.layers; first += kMaxLayersPerLaunch) {
    const int count = std::min(kMaxLayersPerLaunch, shape.layers - first);
    std::copy_n(arguments.layers.begin() + first, count, p.layers);
    p.first_layer = first;
    const int64_t grouped_matrices = static_cast<int64_t>(count) * shape.batch * p.grouped.heads;
    const int64_t matrices = static_cast<int64_t>(count) * shape.batch * p.packing.heads;
    if (!shape.given_lse) {
      launch("row_lse", kernels.row_lse, grouped_matrices * plan.key_splits * tiles(p.grouped.rows, kernels.resident),
             kernels.threads, row_lse_bytes, stream, p);
    }
    launch("row_records", shared.row_records, matrices * tiles(p.packing.rows, kernels.stream), kernels.stream, 0,
           stream, p);
    launch("column_parts", kernels.column_parts,
           matrices * plan.row_splits * tiles(shape.num_columns, kernels.resident), kernels.threads, column_parts_bytes,
           stream, p);
  }
  launch("column_sums", shared.column_sums,
         static_cast<int64_t>(shape.batch) * p.out_heads * tiles(shape.num_columns, shared.column_sums_columns),
         shared.column_sums_threads, shared.column_sums_shared_bytes, stream, p);
}

}  // namespace rlivs
