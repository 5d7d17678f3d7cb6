// Where the rows of a tile lie in global memory. Rows start at multiples of 16 bytes, so offsets inside a batch row
// are counted in units of 16 bytes and fit 32 bits up to 64 GiB: one multiplication a row, not four.
//
// A row outside the range is answered with the nearest one inside: what is computed for it is masked or never
// written, and a copy of a row that takes part anyway brings no NaN of its own.
#pragma once

#include "rlivs/column_sums/params.cuh"
#include "rlivs/platform.cuh"

namespace rlivs {

constexpr int kUnit = 16;

// Packed query rows: row r is head r % group of time step r / group.
struct QueryRows {
  const unsigned char* base;  // of the matrix's first head
  uint32_t head_units;
  uint32_t step_units;  // of a time step, less those of its heads: the offset of r is r * head + (r / group) * step
  FastDivider group;
  int first;
  int last;

  RLIVS_DEVICE const unsigned char* operator()(int row) const {
    const auto r = static_cast<uint32_t>(minimum(first + row, last));
    return base + static_cast<uint64_t>(r * head_units + group.divide(r) * step_units) * kUnit;
  }
};

struct KeyRows {
  const unsigned char* base;
  uint32_t row_units;
  int first;
  int begin;
  int last;

  RLIVS_DEVICE const unsigned char* operator()(int row) const {
    const auto key = static_cast<uint32_t>(maximum(begin, minimum(first + row, last)));
    return base + static_cast<uint64_t>(key * row_units) * kUnit;
  }
};

// Keys of a cache in blocks.
struct KeyRowsInBlocks {
  const unsigned char* base;  // of the KV head in block 0
  const BlockTable& table;
  int64_t block_bytes;
  int64_t row_bytes;
  int batch;
  int first;
  int begin;
  int last;

  RLIVS_DEVICE const unsigned char* operator()(int row) const {
    return base + table.place(batch, maximum(begin, minimum(first + row, last))).offset(block_bytes, row_bytes);
  }
};

template <class Element>
RLIVS_DEVICE uint32_t units(int64_t elements) {
  return static_cast<uint32_t>(elements * static_cast<int64_t>(sizeof(Element)) / kUnit);
}

template <class Element>
RLIVS_DEVICE QueryRows query_rows(const Layer& layer, const RowPacking& packing, int batch, int head) {
  const Strides& s = layer.query_strides;
  const int group = packing.group.divisor();
  const int64_t first = batch * s.batch + static_cast<int64_t>(head) * group * s.head;
  return {static_cast<const unsigned char*>(layer.query) + first * static_cast<int64_t>(sizeof(Element)),
          units<Element>(s.head),
          units<Element>(s.row) - group * units<Element>(s.head),
          packing.group,
          0,
          packing.rows - 1};
}

template <class Element>
RLIVS_DEVICE KeyRows key_rows(const Layer& layer, int batch, int kv_head, int begin, int end) {
  const Strides& s = layer.key_strides;
  const int64_t first = batch * s.batch + static_cast<int64_t>(kv_head) * s.head;
  return {static_cast<const unsigned char*>(layer.key) + first * static_cast<int64_t>(sizeof(Element)),
          units<Element>(s.row), 0, begin, end - 1};
}

// The same rows, counted from `first`.
template <class Rows>
RLIVS_DEVICE Rows rows_from(Rows rows, int first) {
  rows.first = first;
  return rows;
}

// Calls use(rows) with the keys [begin, end) of a batch row and KV head, counted from `first`. Where the cache is in
// blocks is asked here, once a tile.
template <class Element, class Use>
RLIVS_DEVICE void with_key_rows(const ColumnSumsParams& p, const Layer& layer, int batch, int kv_head, int first,
                                int begin, int end, const Use& use) {
  if (!p.table.in_blocks()) {
    use(rows_from(key_rows<Element>(layer, batch, kv_head, begin, end), first));
    return;
  }
  constexpr int64_t kBytes = sizeof(Element);
  const Strides& s = layer.key_strides;
  use(KeyRowsInBlocks{static_cast<const unsigned char*>(layer.key) + static_cast<int64_t>(kv_head) * s.head * kBytes,
                      p.table, s.batch * kBytes, s.row * kBytes, batch, first, begin, end - 1});
}

}  // namespace rlivs
