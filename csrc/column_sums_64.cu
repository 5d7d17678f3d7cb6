#include "column_sums_table.cuh"
#include "rlivs/column_sums/tensor_core_tiles.cuh"

namespace rlivs {

const ColumnSumsKernels column_sums_half_64 = column_sums_table<TensorCoreTiles<Half, 64>>();
const ColumnSumsKernels column_sums_bfloat16_64 = column_sums_table<TensorCoreTiles<BFloat16, 64>>();

}  // namespace rlivs
