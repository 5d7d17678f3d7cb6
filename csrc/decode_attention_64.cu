#include "decode_attention_table.cuh"

namespace rlivs {

const DecodeKernels decode_half_64_8 = decode_table<Half, 64, 1>();
const DecodeKernels decode_half_64_16 = decode_table<Half, 64, 2>();
const DecodeKernels decode_bfloat16_64_8 = decode_table<BFloat16, 64, 1>();
const DecodeKernels decode_bfloat16_64_16 = decode_table<BFloat16, 64, 2>();

}  // namespace rlivs
