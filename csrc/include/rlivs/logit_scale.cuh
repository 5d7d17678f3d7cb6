// What makes a logit of a product of query and key. Softmax needs exp(x) = 2^(x log2 e): logits are kept in units of
// log 2.
#pragma once

#include "rlivs/constants.cuh"

namespace rlivs {

struct LogitScale {
  float factor;  // logit (log 2) = factor * product, factor > 0
  float inner;   // ... with a softcap: outer * tanh(inner * product)
  float outer;
  bool softcap;

  LogitScale() = default;
  LogitScale(float scale, float cap)  // cap 0: none
      : factor(scale * kLog2E), inner(cap > 0.f ? scale / cap : 0.f), outer(cap * kLog2E), softcap(cap > 0.f) {}
};

}  // namespace rlivs
