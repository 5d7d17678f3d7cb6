// Caches in blocks, as serving engines keep them: key j of batch row b is row j % size of block blocks[b, j / size].
#pragma once

#include <cstdint>

#include "rlivs/fast_divider.cuh"
#include "rlivs/qualifiers.cuh"

namespace rlivs {

struct BlockPlace {
  int64_t block;
  int64_t row;

  RLIVS_DEVICE int64_t offset(int64_t block_stride, int64_t row_stride) const {
    return block * block_stride + row * row_stride;
  }
};

struct BlockTable {
  const int32_t* blocks;  // [B, blocks_per_row], or null: the cache is in one piece
  int64_t blocks_per_row;
  int num_blocks;
  FastDivider size;  // keys a block

  RLIVS_DEVICE bool in_blocks() const { return blocks != nullptr; }

  // A number that is no block's is taken for the nearest that is: what a table holds beyond a sequence's keys can do no
  // harm.
  RLIVS_DEVICE BlockPlace place(int batch, int key) const {
    const int index = size.divide(key);
    const int block = blocks[batch * blocks_per_row + index];
    return {block < 0 ? 0 : (block < num_blocks ? block : num_blocks - 1), key - index * size.divisor()};
  }
};

}  // namespace rlivs
