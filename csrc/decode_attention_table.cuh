// Fills one DecodeKernels; included by the files that instantiate.
#pragma once

#include "decode_attention_kernels.h"
#include "rlivs/decode_attention/tensor_core_split.cuh"

namespace rlivs {

template <class Config>
constexpr int decode_shared_bytes(int) {
  return Config::shared_bytes();
}

template <class Element, int kHeadDim, int kHeadTiles>
constexpr DecodeKernels decode_table() {
  using Config = TensorCoreSplit<Element, kHeadDim, kHeadTiles>;
  return {Config::kThreads,
          Config::kHeads,
          Config::kTile * Config::kWarps,
          decode_shared_bytes<Config>,
          tensor_core_split_kernel<Config, false>,
          tensor_core_split_kernel<Config, true>};
}

}  // namespace rlivs
