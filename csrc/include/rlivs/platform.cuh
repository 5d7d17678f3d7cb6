// The instructions the kernels are made of. Everything that a host compiler can't read lives here (and in
// device.cuh): with RLIVS_EMULATION the same kernels run on a CPU, one fiber a thread (csrc/emulation).
#pragma once

#include <cstdint>

#include "rlivs/constants.cuh"
#include "rlivs/qualifiers.cuh"

#ifdef RLIVS_EMULATION
#include "simt.h"
#else
#include "rlivs/device.cuh"
#endif

namespace rlivs {

RLIVS_DEVICE int lane_index() { return threadIdx.x % kWarp; }
RLIVS_DEVICE int warp_index() { return threadIdx.x / kWarp; }

RLIVS_DEVICE int minimum(int a, int b) { return a < b ? a : b; }
RLIVS_DEVICE int maximum(int a, int b) { return a > b ? a : b; }

// First of the `parts` nearly equal pieces of `count` things; piece i ends where piece i + 1 begins.
RLIVS_DEVICE int piece_begin(int count, int piece, int parts) {
  return static_cast<int>(static_cast<int64_t>(count) * piece / parts);
}

}  // namespace rlivs
