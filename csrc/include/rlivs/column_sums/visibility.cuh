// Which keys a query row attends: key_start[b] <= j <= query_start[b] + t, j < S, and the sliding window.
#pragma once

#include "rlivs/column_sums/params.cuh"
#include "rlivs/platform.cuh"

namespace rlivs {

struct Visibility {
  // query_start and window are no farther than they matter, so that sums with rows fit in an int.
  int query_start;
  int first_key;
  int num_keys;
  int window;

  RLIVS_DEVICE Visibility(const ColumnSumsParams& p, int batch)
      : first_key(p.key_start == nullptr ? 0 : maximum(p.key_start[batch], 0)), num_keys(p.num_keys) {
    const int given = p.query_start[batch];
    const int beyond = maximum(given, num_keys) - num_keys;
    query_start = maximum(given - beyond, -p.num_rows);
    window = p.sliding_window == 0 ? 0 : maximum(minimum(p.sliding_window - beyond, num_keys + p.num_rows), 1);
  }

  // The keys [begin, end) that row t attends.
  RLIVS_DEVICE int begin(int t) const {
    return window == 0 ? first_key : maximum(first_key, query_start + t - window + 1);
  }
  RLIVS_DEVICE int end(int t) const { return minimum(num_keys, query_start + t + 1); }
};

}  // namespace rlivs
