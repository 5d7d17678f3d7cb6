#include "decode_attention_table.cuh"

namespace rlivs {

const DecodeKernels decode_half_96_8 = decode_table<Half, 96, 1>();
const DecodeKernels decode_half_96_16 = decode_table<Half, 96, 2>();
const DecodeKernels decode_bfloat16_96_8 = decode_table<BFloat16, 96, 1>();
const DecodeKernels decode_bfloat16_96_16 = decode_table<BFloat16, 96, 2>();

}  // namespace rlivs
