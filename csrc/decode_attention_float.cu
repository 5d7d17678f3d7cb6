#include "decode_attention_kernels.h"
#include "rlivs/decode_attention/combine.cuh"
#include "rlivs/decode_attention/float_split.cuh"

namespace rlivs {

const DecodeKernels decode_float = {FloatSplit::kThreads,     FloatSplit::kHeads, FloatSplit::kTile,
                                    FloatSplit::shared_bytes, float_split_kernel, float_split_kernel};

const DecodeSharedKernels decode_shared = {decode_combine_kernel<Half>, decode_combine_kernel<BFloat16>,
                                           decode_combine_kernel<float>, kCombineThreads, kCombineColumns};

}  // namespace rlivs
