#include "decode_attention_table.cuh"

namespace rlivs {

// Sixteen heads would not fit the registers; a larger group takes several blocks.
const DecodeKernels decode_half_256_8 = decode_table<Half, 256, 1>();
const DecodeKernels decode_bfloat16_256_8 = decode_table<BFloat16, 256, 1>();

}  // namespace rlivs
