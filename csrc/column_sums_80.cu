#include "column_sums_table.cuh"
#include "rlivs/column_sums/tensor_core_tiles.cuh"

namespace rlivs {

const ColumnSumsKernels column_sums_half_80 = column_sums_table<TensorCoreTiles<Half, 80>>();
const ColumnSumsKernels column_sums_bfloat16_80 = column_sums_table<TensorCoreTiles<BFloat16, 80>>();

}  // namespace rlivs
