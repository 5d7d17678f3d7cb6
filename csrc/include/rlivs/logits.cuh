// From products to logits in units of log 2.
#pragma once

#include "rlivs/logit_scale.cuh"
#include "rlivs/platform.cuh"

namespace rlivs {

// Applies a softcap to accumulators, in place; without one this is skipped. Returns the factor that is left to multiply
// with.
template <int kRows, int kColumns>
RLIVS_DEVICE float transform_logits(float (&acc)[kRows][kColumns], const LogitScale& logit) {
  if (!logit.softcap) return logit.factor;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      acc[i][j] = logit.outer * tanh_exact(logit.inner * acc[i][j]);
    }
  }
  return 1.f;
}

}  // namespace rlivs
