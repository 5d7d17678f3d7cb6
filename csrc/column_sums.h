// attention_column_sums on the host: how the work is split, the workspace it takes, the launches.
#pragma once

#include <cstdint>
#include <vector>

#include "launch.h"
#include "rlivs/column_sums/params.cuh"

namespace rlivs {

enum class ElementType : int { kHalf = 0, kBFloat16 = 1, kFloat = 2 };

struct ColumnSumsShape {
  ElementType type;
  int layers;
  int batch;
  int num_heads;
  int num_kv_heads;
  int num_rows;
  int num_keys;
  int num_columns;
  int head_dim;
  bool given_lse;
  bool per_head;
};

struct ColumnSumsPlan {
  int key_splits;
  int row_splits;
  int64_t lse_parts;  // bytes of each part of the workspace, multiples of 256
  int64_t row_records;
  int64_t column_parts;
  int64_t workspace_bytes() const { return lse_parts + row_records + column_parts; }
};

struct ColumnSumsArguments {
  std::vector<Layer> layers;
  const int32_t* query_start;
  const int32_t* key_start;
  const int32_t* column_start;
  const uint8_t* row_mask;
  BlockTable table;
  float* out;
  void* workspace;
  float scale;
  float softcap;       // 0: none
  int sliding_window;  // 0: none
  Reduction reduction;
};

// Of the current device; the same shape on the same device gives the same plan, hence the same bits.
ColumnSumsPlan plan_column_sums(const ColumnSumsShape& shape);

void launch_column_sums(const ColumnSumsShape& shape, const ColumnSumsPlan& plan, const ColumnSumsArguments& arguments,
                        Stream stream);

}  // namespace rlivs
