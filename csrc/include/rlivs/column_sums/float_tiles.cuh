// The same product for fp32 inputs, on fused multiply-adds in full precision (no tf32): 16 x 16 threads, four
// resident and two streamed rows each, both operands in shared memory, any head size. Rows are padded by four
// floats, so the 16-byte reads of sixteen streamed rows fall into different banks.
#pragma once

#include "rlivs/platform.cuh"

namespace rlivs {

struct FloatTiles {
  using Element = float;
  static constexpr int kThreads = 256;
  static constexpr int kResident = 64;
  static constexpr int kStream = 32;
  static constexpr int kStages = 2;
  static constexpr int kChunk = 32;
  static constexpr int kRows = 4;
  static constexpr int kColumns = 2;
  static constexpr int kLanesPerRow = 16;
  static constexpr int kMinBlocks = 1;
  static constexpr bool kAnyHeadDim = true;

  RLIVS_HOST_DEVICE static constexpr int shared_bytes(int head_dim) {
    return (kResident + kStages * kStream) * (head_dim + 4) * static_cast<int>(sizeof(float));
  }
  RLIVS_DEVICE explicit FloatTiles(int head_dim) : head_dim_(head_dim), pitch_(head_dim + 4) {}

  RLIVS_DEVICE static int row(int i) { return static_cast<int>(threadIdx.x) / 16 + i * 16; }
  RLIVS_DEVICE static int column(int j) { return static_cast<int>(threadIdx.x) % 16 + j * 16; }

  RLIVS_DEVICE static void load_columns(float2 (&values)[kColumns], const float2* rows) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) values[j] = load_shared(rows + column(j));
  }

  RLIVS_DEVICE unsigned char* stage(unsigned char* memory, int index) const {
    return memory + (kResident + (index % kStages) * kStream) * pitch_ * static_cast<int>(sizeof(float));
  }

  template <class Source>
  RLIVS_DEVICE void copy_resident(unsigned char* memory, const Source& source) const {
    copy_rows(memory, kResident, source);
  }
  template <class Source>
  RLIVS_DEVICE void copy_streamed(unsigned char* stage, const Source& source) const {
    copy_rows(stage, kStream, source);
  }

  RLIVS_DEVICE void keep_resident(const unsigned char* memory) { resident_ = reinterpret_cast<const float*>(memory); }

  RLIVS_DEVICE void multiply(float (&acc)[kRows][kColumns], const unsigned char* stage, int) const {
    const float* streamed = reinterpret_cast<const float*>(stage);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) acc[i][j] = 0.f;
    }
#pragma unroll 4
    for (int d = 0; d < head_dim_; d += 4) {
      float4 a[kRows], b[kColumns];
#pragma unroll
      for (int i = 0; i < kRows; ++i) a[i] = load_shared(at(resident_, row(i), d));
#pragma unroll
      for (int j = 0; j < kColumns; ++j) b[j] = load_shared(at(streamed, column(j), d));
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          acc[i][j] += a[i].x * b[j].x;
          acc[i][j] += a[i].y * b[j].y;
          acc[i][j] += a[i].z * b[j].z;
          acc[i][j] += a[i].w * b[j].w;
        }
      }
    }
  }

 private:
  RLIVS_DEVICE const float4* at(const float* rows, int row, int d) const {
    return reinterpret_cast<const float4*>(rows + row * pitch_ + d);
  }

  template <class Source>
  RLIVS_DEVICE void copy_rows(unsigned char* to, int count, const Source& source) const {
    const SharedAddress base = shared_address(to);
    const int parts = head_dim_ / 4;
    for (int index = threadIdx.x; index < count * parts; index += kThreads) {
      const int row = index / parts, part = index % parts;
      copy_async_16(base + row * pitch_ * 4 + part * 16, source(row) + part * 16);
    }
  }

  int head_dim_;
  int pitch_;
  const float* resident_;
};

}  // namespace rlivs
