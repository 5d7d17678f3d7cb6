// Which keys a query row attends: key_start[b] <= j <= query_start[b] + t, j < S, and the sliding window.
#pragma once

#include "rlivs/column_sums/params.cuh"
#include "rlivs/platform.cuh"

namespace rlivs {

struct Visibility {
  int query_start;
  int first_key;
  int num_keys;
  int window;

  RLIVS_DEVICE Visibility(const ColumnSumsParams& p, int batch)
      : query_start(p.query_start[batch]),
        first_key(p.key_start == nullptr ? 0 : maximum(p.key_start[batch], 0)),
        num_keys(p.num_keys),
        window(p.sliding_window) {}

  // The keys [begin, end) that row t attends.
  RLIVS_DEVICE int begin(int t) const {
    return window == 0 ? first_key : maximum(first_key, query_start + t - window + 1);
  }
  RLIVS_DEVICE int end(int t) const { return minimum(num_keys, query_start + t + 1); }
};

}  // namespace rlivs
