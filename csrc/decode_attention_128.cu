#include "decode_attention_table.cuh"

namespace rlivs {

const DecodeKernels decode_half_128_8 = decode_table<Half, 128, 1>();
const DecodeKernels decode_half_128_16 = decode_table<Half, 128, 2>();
const DecodeKernels decode_bfloat16_128_8 = decode_table<BFloat16, 128, 1>();
const DecodeKernels decode_bfloat16_128_16 = decode_table<BFloat16, 128, 2>();

}  // namespace rlivs
