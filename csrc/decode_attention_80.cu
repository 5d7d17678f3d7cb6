#include "decode_attention_table.cuh"

namespace rlivs {

const DecodeKernels decode_half_80_8 = decode_table<Half, 80, 1>();
const DecodeKernels decode_half_80_16 = decode_table<Half, 80, 2>();
const DecodeKernels decode_bfloat16_80_8 = decode_table<BFloat16, 80, 1>();
const DecodeKernels decode_bfloat16_80_16 = decode_table<BFloat16, 80, 2>();

}  // namespace rlivs
