#include "column_sums_table.cuh"
#include "rlivs/column_sums/tensor_core_tiles.cuh"

namespace rlivs {

const ColumnSumsKernels column_sums_half_128 = column_sums_table<TensorCoreTiles<Half, 128>>();
const ColumnSumsKernels column_sums_bfloat16_128 = column_sums_table<TensorCoreTiles<BFloat16, 128>>();

}  // namespace rlivs
