// Division by a divisor known at launch, as a multiplication: rows are packed as row * group + head, and a
// group of 7 is no power of two. Exact for 0 <= n < 2^31.
#pragma once

#include <cstdint>

#include "rlivs/qualifiers.cuh"

namespace rlivs {

class FastDivider {
 public:
  FastDivider() = default;

  explicit FastDivider(int divisor) : divisor_(divisor) {
    while ((int64_t{1} << shift_) < divisor) ++shift_;
    const uint64_t power = uint64_t{1} << 32;
    multiplier_ = static_cast<uint32_t>(power * ((uint64_t{1} << shift_) - divisor) / divisor + 1);
  }

  RLIVS_HOST_DEVICE uint32_t divide(uint32_t n) const {
    return (static_cast<uint32_t>(uint64_t{n} * multiplier_ >> 32) + n) >> shift_;
  }
  RLIVS_HOST_DEVICE int divide(int n) const { return static_cast<int>(divide(static_cast<uint32_t>(n))); }

  RLIVS_HOST_DEVICE int divisor() const { return divisor_; }

 private:
  int divisor_ = 1;
  uint32_t multiplier_ = 1;
  int shift_ = 0;
};

}  // namespace rlivs
