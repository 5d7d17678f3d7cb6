// Into how many parts a loop is split so that the blocks fill the chip evenly.
#pragma once

#include <algorithm>
#include <cstdint>

namespace rlivs {

// `units` independent loops of `steps` steps each, on `slots` blocks at a time. The cost of a choice is the number of
// waves times the steps of a block, its start counted as `start_steps`; of equal costs the fewer splits.
inline int choose_splits(int64_t units, int64_t steps, int64_t slots, double start_steps, int64_t most) {
  int best = 1;
  double best_cost = 0;
  const int64_t last = std::max<int64_t>(1, std::min(steps, most));
  for (int64_t splits = 1; splits <= last; ++splits) {
    const int64_t waves = (units * splits + slots - 1) / slots;
    const double cost = static_cast<double>(waves) * (static_cast<double>((steps + splits - 1) / splits) + start_steps);
    if (splits == 1 || cost < best_cost * 0.999) {
      best = static_cast<int>(splits);
      best_cost = cost;
    }
  }
  return best;
}

}  // namespace rlivs
