// Fills one ColumnSumsKernels; included by the files that instantiate.
#pragma once

#include "column_sums_kernels.h"
#include "rlivs/column_sums/column_parts.cuh"
#include "rlivs/column_sums/row_lse.cuh"

namespace rlivs {

template <class Tiles>
constexpr int row_lse_shared_bytes(int head_dim) {
  return Tiles::shared_bytes(head_dim);
}

template <class Tiles>
constexpr ColumnSumsKernels column_sums_table() {
  return {Tiles::kThreads,
          Tiles::kResident,
          Tiles::kStream,
          row_lse_shared_bytes<Tiles>,
          column_parts_shared_bytes<Tiles>,
          row_lse_kernel<Tiles>,
          column_parts_kernel<Tiles>};
}

}  // namespace rlivs
