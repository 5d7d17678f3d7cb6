// The instantiated decode kernels, one table an element type, head size and padded group.
#pragma once

#include "rlivs/decode_attention/params.cuh"

namespace rlivs {

struct DecodeKernels {
  int threads;
  int heads;  // query heads a block
  int tile;   // keys a step of a block
  int (*shared_bytes)(int head_dim);
  void (*split)(DecodeParams);
  void (*scored_split)(DecodeParams);
};

#define RLIVS_DECODE(name) extern const DecodeKernels name;
RLIVS_DECODE(decode_half_64_8)
RLIVS_DECODE(decode_half_64_16)
RLIVS_DECODE(decode_half_80_8)
RLIVS_DECODE(decode_half_80_16)
RLIVS_DECODE(decode_half_96_8)
RLIVS_DECODE(decode_half_96_16)
RLIVS_DECODE(decode_half_128_8)
RLIVS_DECODE(decode_half_128_16)
RLIVS_DECODE(decode_half_256_8)
RLIVS_DECODE(decode_bfloat16_64_8)
RLIVS_DECODE(decode_bfloat16_64_16)
RLIVS_DECODE(decode_bfloat16_80_8)
RLIVS_DECODE(decode_bfloat16_80_16)
RLIVS_DECODE(decode_bfloat16_96_8)
RLIVS_DECODE(decode_bfloat16_96_16)
RLIVS_DECODE(decode_bfloat16_128_8)
RLIVS_DECODE(decode_bfloat16_128_16)
RLIVS_DECODE(decode_bfloat16_256_8)
RLIVS_DECODE(decode_float)  // any head size
#undef RLIVS_DECODE

struct DecodeSharedKernels {
  void (*combine_half)(DecodeParams);
  void (*combine_bfloat16)(DecodeParams);
  void (*combine_float)(DecodeParams);
  int threads;
  int columns;  // a block
};
extern const DecodeSharedKernels decode_shared;

}  // namespace rlivs
