#include "column_sums_table.cuh"
#include "rlivs/column_sums/tensor_core_tiles.cuh"

namespace rlivs {

const ColumnSumsKernels column_sums_half_96 = column_sums_table<TensorCoreTiles<Half, 96>>();
const ColumnSumsKernels column_sums_bfloat16_96 = column_sums_table<TensorCoreTiles<BFloat16, 96>>();

}  // namespace rlivs
