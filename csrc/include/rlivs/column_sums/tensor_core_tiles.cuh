// The product of resident rows (operand A, kept in registers for the life of the block) with streamed rows
// (operand B, staged through shared memory), on mma.sync m16n8k16: 16-bit inputs, fp32 accumulators.
//
// Four warps of 32 resident rows each. Shared rows are padded by 16 bytes: the row pitch is an odd number of
// 16-byte units for every head size, so ldmatrix meets no bank conflict and needs no address swizzle. One
// ldmatrix.x4 feeds four mma, which leaves the shared-memory port half idle at the A100's tensor rate.
#pragma once

#include "rlivs/platform.cuh"

namespace rlivs {

template <class Element_, int kHeadDim>
struct TensorCoreTiles {
  using Element = Element_;
  static constexpr int kThreads = 128;
  static constexpr int kResident = 128;                     // resident rows a block
  static constexpr int kStream = kHeadDim > 128 ? 32 : 64;  // streamed rows a stage
  static constexpr int kStages = kHeadDim > 128 ? 4 : 3;
  static constexpr int kChunk = 32;            // streamed rows multiplied at a time
  static constexpr int kRows = 4;              // accumulators a thread: resident rows
  static constexpr int kColumns = kChunk / 4;  // ... and streamed rows
  static constexpr int kLanesPerRow = 4;       // lanes that share a resident row
  static constexpr int kMinBlocks = kHeadDim > 128 ? 2 : 3;
  static constexpr bool kAnyHeadDim = false;

  static constexpr int kRowBytes = kHeadDim * 2 + 16;
  static constexpr int kSteps = kHeadDim / 16;
  static constexpr int kParts = kHeadDim / 8;  // 16-byte parts a row
  static_assert(kStages * kStream >= kResident, "the stages hold the resident rows before the stream begins");
  static_assert(kStream % kChunk == 0 && kStream * kParts % kThreads == 0, "whole chunks, whole copies");

  // Shared bytes; `head_dim` is known here, other tiles take it at run time.
  RLIVS_HOST_DEVICE static constexpr int shared_bytes(int) { return kStages * kStream * kRowBytes; }
  RLIVS_DEVICE explicit TensorCoreTiles(int) {}

  // Resident row of accumulator row i; streamed row, within its chunk, of accumulator column j.
  RLIVS_DEVICE static int row(int i) { return warp_index() * 32 + (i / 2) * 16 + (i % 2) * 8 + lane_index() / 4; }
  RLIVS_DEVICE static int column(int j) { return (j / 2) * 8 + (lane_index() % 4) * 2 + j % 2; }

  // One pair a streamed row, for each accumulator column.
  RLIVS_DEVICE static void load_columns(float2 (&values)[kColumns], const float2* rows) {
#pragma unroll
    for (int j = 0; j < kColumns; j += 2) {
      const float4 two = load_shared(reinterpret_cast<const float4*>(rows + column(j)));
      values[j] = make_float2(two.x, two.y);
      values[j + 1] = make_float2(two.z, two.w);
    }
  }

  RLIVS_DEVICE unsigned char* stage(unsigned char* memory, int index) const {
    return memory + (index % kStages) * kStream * kRowBytes;
  }

  // `source(row)` is the address of a row.
  template <class Source>
  RLIVS_DEVICE void copy_resident(unsigned char* memory, const Source& source) const {
    copy_rows<kResident>(memory, source);
  }
  template <class Source>
  RLIVS_DEVICE void copy_streamed(unsigned char* stage, const Source& source) const {
    copy_rows<kStream>(stage, source);
  }

  // The resident rows, from shared memory into registers.
  RLIVS_DEVICE void keep_resident(const unsigned char* memory) {
    const int lane = lane_index();
    const SharedAddress base = shared_address(memory);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const SharedAddress line = base + (warp_index() * 32 + m * 16 + lane % 16) * kRowBytes + (lane / 16) * 16;
#pragma unroll
      for (int step = 0; step < kSteps; ++step) load_matrix_x4(resident_[m][step], line + step * 32);
    }
  }

  // acc = resident rows x streamed rows [chunk * kChunk, + kChunk) of the stage.
  RLIVS_DEVICE void multiply(float (&acc)[kRows][kColumns], const unsigned char* stage, int chunk) const {
    const int lane = lane_index();
    const int line = chunk * kChunk + (lane / 16) * 8 + lane % 8;
    const SharedAddress base = shared_address(stage) + line * kRowBytes + (lane / 8 % 2) * 16;
    float tile[2][kChunk / 8][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int pair = 0; pair < kChunk / 16; ++pair) {
        uint32_t b[4];
        load_matrix_x4(b, base + pair * 16 * kRowBytes + step * 32);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          multiply_add(tile[m][pair * 2], resident_[m][step], b[0], b[1], Element{});
          multiply_add(tile[m][pair * 2 + 1], resident_[m][step], b[2], b[3], Element{});
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) acc[i][j] = tile[i / 2][j / 2][i % 2 * 2 + j % 2];
    }
  }

 private:
  template <int kCount, class Source>
  RLIVS_DEVICE static void copy_rows(unsigned char* to, const Source& source) {
    const SharedAddress base = shared_address(to);
#pragma unroll 4
    for (int i = 0; i < kCount * kParts / kThreads; ++i) {
      const int index = static_cast<int>(threadIdx.x) + i * kThreads;
      const int row = index / kParts, part = index % kParts;
      copy_async_16(base + row * kRowBytes + part * 16, source(row) + part * 16);
    }
  }

  uint32_t resident_[2][kSteps][4];
};

}  // namespace rlivs
