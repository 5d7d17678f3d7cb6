// Where the rows of a tile lie in global memory.
#pragma once

#include "rlivs/column_sums/params.cuh"

namespace rlivs {

// Packed query rows [first, end) of one matrix: row r is head r % group of time step r / group.
struct QueryRows {
  const unsigned char* base;  // of the matrix's first head
  int64_t head_bytes;
  int64_t row_bytes;
  FastDivider group;
  int first;
  int end;

  RLIVS_DEVICE const unsigned char* operator()(int row) const {
    const int r = first + row;
    const int t = group.divide(r);
    const int g = r - t * group.divisor();
    return r < end ? base + t * row_bytes + g * head_bytes : nullptr;
  }
  RLIVS_DEVICE const unsigned char* any() const { return base; }
};

// Keys first + row, for rows inside [begin, end).
struct KeyRows {
  const unsigned char* base;
  int64_t row_bytes;
  int first;
  int begin;
  int end;

  RLIVS_DEVICE const unsigned char* operator()(int row) const {
    const int key = first + row;
    return key >= begin && key < end ? base + key * row_bytes : nullptr;
  }
  RLIVS_DEVICE const unsigned char* any() const { return base; }
};

template <class Element>
RLIVS_DEVICE QueryRows query_rows(const Layer& layer, const RowPacking& packing, int batch, int head, int first) {
  constexpr int64_t kBytes = sizeof(Element);
  const Strides& s = layer.query_strides;
  const int64_t head_bytes = s.head * kBytes;
  return QueryRows{static_cast<const unsigned char*>(layer.query) + batch * s.batch * kBytes +
                       static_cast<int64_t>(head) * packing.group.divisor() * head_bytes,
                   head_bytes,
                   s.row * kBytes,
                   packing.group,
                   first,
                   packing.rows};
}

template <class Element>
RLIVS_DEVICE KeyRows key_rows(const Layer& layer, int batch, int kv_head, int first, int begin, int end) {
  constexpr int64_t kBytes = sizeof(Element);
  const Strides& s = layer.key_strides;
  return KeyRows{static_cast<const unsigned char*>(layer.key) + batch * s.batch * kBytes + kv_head * (s.head * kBytes),
                 s.row * kBytes, first, begin, end};
}

}  // namespace rlivs
