// Element types as storage only: the kernels never do arithmetic in 16 bits, so no CUDA half header is needed.
#pragma once

#include <cstdint>

namespace rlivs {

struct Half {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

}  // namespace rlivs
