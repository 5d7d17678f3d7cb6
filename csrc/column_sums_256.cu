#include "column_sums_table.cuh"
#include "rlivs/column_sums/tensor_core_tiles.cuh"

namespace rlivs {

const ColumnSumsKernels column_sums_half_256 = column_sums_table<TensorCoreTiles<Half, 256>>();
const ColumnSumsKernels column_sums_bfloat16_256 = column_sums_table<TensorCoreTiles<BFloat16, 256>>();

}  // namespace rlivs
