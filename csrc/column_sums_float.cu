#include "column_sums_table.cuh"
#include "rlivs/column_sums/column_sums.cuh"
#include "rlivs/column_sums/float_tiles.cuh"
#include "rlivs/column_sums/row_records.cuh"

namespace rlivs {

const ColumnSumsKernels column_sums_float = column_sums_table<FloatTiles>();

const ColumnSumsSharedKernels column_sums_shared = {
    row_records_kernel, column_sums_kernel, kSumThreads, kSumColumns,
    kSumThreads * static_cast<int>(sizeof(float)) + kSumThreads / kWarp * static_cast<int>(sizeof(int))};

}  // namespace rlivs
