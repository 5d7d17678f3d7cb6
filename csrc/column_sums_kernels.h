// The instantiated column-sum kernels, one table an element type and head size.
#pragma once

#include "rlivs/column_sums/params.cuh"

namespace rlivs {

struct ColumnSumsKernels {
  int threads;
  int resident;  // rows that a block keeps
  int stream;    // rows of a streamed tile
  int (*row_lse_shared_bytes)(int head_dim);
  int (*column_parts_shared_bytes)(int head_dim);
  void (*row_lse)(ColumnSumsParams);
  void (*column_parts)(ColumnSumsParams);
};

#define RLIVS_COLUMN_SUMS(name) extern const ColumnSumsKernels name;
RLIVS_COLUMN_SUMS(column_sums_half_64)
RLIVS_COLUMN_SUMS(column_sums_half_80)
RLIVS_COLUMN_SUMS(column_sums_half_96)
RLIVS_COLUMN_SUMS(column_sums_half_128)
RLIVS_COLUMN_SUMS(column_sums_half_256)
RLIVS_COLUMN_SUMS(column_sums_bfloat16_64)
RLIVS_COLUMN_SUMS(column_sums_bfloat16_80)
RLIVS_COLUMN_SUMS(column_sums_bfloat16_96)
RLIVS_COLUMN_SUMS(column_sums_bfloat16_128)
RLIVS_COLUMN_SUMS(column_sums_bfloat16_256)
RLIVS_COLUMN_SUMS(column_sums_float)  // any head size
#undef RLIVS_COLUMN_SUMS

struct ColumnSumsSharedKernels {
  void (*row_records)(ColumnSumsParams);
  void (*column_sums)(ColumnSumsParams);
  int column_sums_threads;
  int column_sums_columns;  // a block
  int column_sums_shared_bytes;
};
extern const ColumnSumsSharedKernels column_sums_shared;

}  // namespace rlivs
