// Runs the CUDA kernels on a CPU: one fiber a thread, every thread of a block, block after block.
//
// For tests without a GPU. It stands in for device.cuh and has the instructions do what the PTX manual says, lane by
// lane, so tiles, fragments, masks, barriers and the shape of the work are those of the GPU. Beyond results it checks
// what a GPU would not tell: shared memory starts as NaN, asynchronous copies land as early or as late as they may,
// threads run in a random order, and each access to shared memory must be ordered after the last conflicting one by a
// barrier. It counts bank conflicts of ldmatrix. It says nothing about speed, registers or the compiler.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "rlivs/elements.cuh"
#include "rlivs/qualifiers.cuh"
#include "vector_types.h"

#define RLIVS_KERNEL(threads, min_blocks) static void
#define RLIVS_PARAMETER const

struct Index3 {
  unsigned x;
};

namespace simt {

const Index3& thread_index();
const Index3& block_index();

unsigned char* shared_memory();

// Every lane of the warp (or thread of the block) arrives with its operand; the last runs `execute` on all of them.
using Execute = void (*)(void* const* operands, int count);
void warp_collective(Execute execute, void* operand, const char* name, bool orders_memory);
void block_collective(Execute execute, void* operand, const char* name);

void record_read(const void* address, int bytes);
void record_write(const void* address, int bytes);
void count_bank_conflicts(void* const* addresses);

void copy_async(uint32_t to, const void* from);
void copy_async_commit();
void copy_async_wait(int pending);

struct Statistics {
  int64_t blocks;
  int64_t conflicting_matrix_loads;
};
Statistics statistics();
void set_seed(uint64_t seed);

// Of the device that is emulated: in how many parts work is cut follows from it.
int multiprocessors();
void set_multiprocessors(int count);

// Runs the blocks of a grid; throws std::runtime_error where the kernel breaks a rule.
void run_grid(void (*entry)(const void* context), const void* context, const char* name, int64_t blocks, int threads,
              int shared_bytes);

}  // namespace simt

#define threadIdx (::simt::thread_index())
#define blockIdx (::simt::block_index())

namespace rlivs {

using SharedAddress = uint32_t;

inline unsigned char* dynamic_shared_memory() { return simt::shared_memory(); }

inline SharedAddress shared_address(const void* pointer) {
  return static_cast<SharedAddress>(static_cast<const unsigned char*>(pointer) - simt::shared_memory());
}

template <class T>
inline T load_shared(const T* pointer) {
  simt::record_read(pointer, sizeof(T));
  return *pointer;
}

template <class T>
inline void store_shared(T* pointer, T value) {
  simt::record_write(pointer, sizeof(T));
  *pointer = value;
}

inline float exp2_fast(float x) { return std::exp2(x); }
inline float multiply_rounded(float a, float b) { return a * b; }
inline float log2_exact(float x) { return std::log2(x); }
inline float tanh_exact(float x) { return std::tanh(x); }
inline float max_keep_nan(float a, float b) { return a != a || b != b ? NAN : (a > b ? a : b); }

template <class T>
inline T shuffle_xor(T value, int lanes) {
  struct Operand {
    T in, out;
    int lanes;
  } operand{value, value, lanes};
  simt::warp_collective(
      [](void* const* operands, int count) {
        for (int lane = 0; lane < count; ++lane) {
          auto* own = static_cast<Operand*>(operands[lane]);
          own->out = static_cast<Operand*>(operands[lane ^ own->lanes])->in;
        }
      },
      &operand, "shuffle_xor", false);
  return operand.out;
}

inline void sync_warp() { simt::warp_collective(nullptr, nullptr, "sync_warp", true); }
inline void sync_block() { simt::block_collective(nullptr, nullptr, "sync_block"); }

inline bool sync_block_any(bool value) {
  simt::block_collective(
      [](void* const* operands, int count) {
        bool any = false;
        for (int i = 0; i < count; ++i) any = any || *static_cast<bool*>(operands[i]);
        for (int i = 0; i < count; ++i) *static_cast<bool*>(operands[i]) = any;
      },
      &value, "sync_block_any");
  return value;
}

inline bool sync_block_all(bool value) { return !sync_block_any(!value); }

inline void copy_async_16(SharedAddress to, const void* from) { simt::copy_async(to, from); }
inline void copy_async_commit() { simt::copy_async_commit(); }
template <int pending>
inline void copy_async_wait() {
  simt::copy_async_wait(pending);
}

// Matrices as PTX lays them across a warp (ISA, "Matrix Fragments for mma.m16n8k16"): lane = 4 * row + column / 2.
struct MatrixLoad {
  SharedAddress address;
  uint32_t* registers;
};

template <bool kTransposed>
inline void load_matrices(void* const* operands, int) {
  void* addresses[32];
  for (int lane = 0; lane < 32; ++lane) {
    addresses[lane] = simt::shared_memory() + static_cast<MatrixLoad*>(operands[lane])->address;
  }
  simt::count_bank_conflicts(addresses);
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint16_t pair[2];
      for (int e = 0; e < 2; ++e) {
        const int row = kTransposed ? lane % 4 * 2 + e : lane / 4;
        const int column = kTransposed ? lane / 4 : lane % 4 * 2 + e;
        std::memcpy(&pair[e], static_cast<unsigned char*>(addresses[matrix * 8 + row]) + column * 2, 2);
      }
      std::memcpy(&static_cast<MatrixLoad*>(operands[lane])->registers[matrix], pair, 4);
    }
  }
}

inline void load_matrix_x4(uint32_t (&r)[4], SharedAddress address) {
  simt::record_read(simt::shared_memory() + address, 16);
  MatrixLoad load{address, r};
  simt::warp_collective(load_matrices<false>, &load, "load_matrix_x4", false);
}

inline void load_matrix_x4_transposed(uint32_t (&r)[4], SharedAddress address) {
  simt::record_read(simt::shared_memory() + address, 16);
  MatrixLoad load{address, r};
  simt::warp_collective(load_matrices<true>, &load, "load_matrix_x4_transposed", false);
}

inline uint32_t transpose_matrix(uint32_t a) {
  struct Operand {
    uint32_t in, out;
  } operand{a, 0};
  simt::warp_collective(
      [](void* const* operands, int) {
        for (int lane = 0; lane < 32; ++lane) {
          uint16_t pair[2];
          for (int e = 0; e < 2; ++e) {
            const int row = lane % 4 * 2 + e, column = lane / 4;
            const uint32_t word = static_cast<Operand*>(operands[row * 4 + column / 2])->in;
            pair[e] = static_cast<uint16_t>(word >> (column % 2 * 16));
          }
          std::memcpy(&static_cast<Operand*>(operands[lane])->out, pair, 4);
        }
      },
      &operand, "transpose_matrix", false);
  return operand.out;
}

float to_float(uint16_t bits, Half);
float to_float(uint16_t bits, BFloat16);
uint16_t from_float(float value, Half);
uint16_t from_float(float value, BFloat16);

template <class Element>
inline uint32_t pack(float low, float high, Element element) {
  return from_float(low, element) | static_cast<uint32_t>(from_float(high, element)) << 16;
}

struct MatrixProduct {
  float* d;
  const uint32_t* a;
  uint32_t b[2];
};

template <class Element>
inline void multiply_matrices(void* const* operands, int) {
  static float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* own = static_cast<MatrixProduct*>(operands[lane]);
    for (int e = 0; e < 2; ++e) {
      const int row = lane / 4, column = lane % 4 * 2 + e;
      for (int i = 0; i < 4; ++i) {
        a[row + i % 2 * 8][column + i / 2 * 8] = to_float(static_cast<uint16_t>(own->a[i] >> (e * 16)), Element{});
      }
      for (int i = 0; i < 2; ++i) {
        b[column + i * 8][row] = to_float(static_cast<uint16_t>(own->b[i] >> (e * 16)), Element{});
      }
    }
  }
  float d[16][8] = {};
  for (int m = 0; m < 16; ++m) {
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < 8; ++n) d[m][n] += a[m][k] * b[k][n];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto* own = static_cast<MatrixProduct*>(operands[lane]);
    for (int i = 0; i < 4; ++i) own->d[i] += d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

template <class Element>
inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Element) {
  MatrixProduct product{d, a, {b0, b1}};
  simt::warp_collective(multiply_matrices<Element>, &product, "multiply_add", false);
}

}  // namespace rlivs
