#pragma once

namespace rlivs {

constexpr int kWarp = 32;
constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

// Stands for "no logit yet" in a running maximum: finite, so that differences with it never give NaN.
constexpr float kNoMaximum = -1e30f;

}  // namespace rlivs
