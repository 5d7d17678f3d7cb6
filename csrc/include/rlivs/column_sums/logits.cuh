// The softcap, applied to accumulators in place; without one this is skipped.
#pragma once

#include "rlivs/column_sums/params.cuh"
#include "rlivs/platform.cuh"

namespace rlivs {

// Turns products into logits in units of log 2; returns the factor that is left to multiply with.
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
