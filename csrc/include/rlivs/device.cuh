// PTX of sm_80 and later, one function an instruction.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "rlivs/elements.cuh"
#include "rlivs/qualifiers.cuh"

#define RLIVS_KERNEL(threads, min_blocks) static __global__ void __launch_bounds__(threads, min_blocks)
#define RLIVS_PARAMETER const __grid_constant__

namespace rlivs {

using SharedAddress = uint32_t;

RLIVS_DEVICE unsigned char* dynamic_shared_memory() {
  extern __shared__ __align__(128) unsigned char memory[];
  return memory;
}

RLIVS_DEVICE SharedAddress shared_address(const void* pointer) {
  return static_cast<SharedAddress>(__cvta_generic_to_shared(pointer));
}

template <class T>
RLIVS_DEVICE T load_shared(const T* pointer) {
  return *pointer;
}

template <class T>
RLIVS_DEVICE void store_shared(T* pointer, T value) {
  *pointer = value;
}

RLIVS_DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// A product that is never fused with a sum around it: two kernels that share it give the same bits.
RLIVS_DEVICE float multiply_rounded(float a, float b) { return __fmul_rn(a, b); }

RLIVS_DEVICE float log2_exact(float x) { return log2f(x); }
RLIVS_DEVICE float tanh_exact(float x) { return tanhf(x); }

// fmaxf drops a NaN; a reduction over probabilities must not.
RLIVS_DEVICE float max_keep_nan(float a, float b) {
  float c;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
  return c;
}

RLIVS_DEVICE float shuffle_xor(float value, int lanes) { return __shfl_xor_sync(0xffffffffu, value, lanes); }
RLIVS_DEVICE int shuffle_xor(int value, int lanes) { return __shfl_xor_sync(0xffffffffu, value, lanes); }

RLIVS_DEVICE void sync_warp() { __syncwarp(); }
RLIVS_DEVICE void sync_block() { __syncthreads(); }
RLIVS_DEVICE bool sync_block_any(bool value) { return __syncthreads_or(value); }
RLIVS_DEVICE bool sync_block_all(bool value) { return __syncthreads_and(value); }

// 16 bytes from global to shared memory, past the L1 cache.
RLIVS_DEVICE void copy_async_16(SharedAddress to, const void* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

RLIVS_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `pending` of this thread's committed groups are under way.
template <int pending>
RLIVS_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

RLIVS_DEVICE void load_matrix_x4(uint32_t (&r)[4], SharedAddress address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

RLIVS_DEVICE void load_matrix_x4_transposed(uint32_t (&r)[4], SharedAddress address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// Transposes an 8x8 matrix of 16-bit elements that lies across the warp.
RLIVS_DEVICE uint32_t transpose_matrix(uint32_t a) {
  uint32_t b;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(b) : "r"(a));
  return b;
}

// d += a * b, 16 x 8 x 16, fp32 accumulation.
RLIVS_DEVICE void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Half) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

RLIVS_DEVICE void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, BFloat16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two floats rounded to nearest even, `low` in the low half.
RLIVS_DEVICE uint32_t pack(float low, float high, Half) {
  uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

RLIVS_DEVICE uint32_t pack(float low, float high, BFloat16) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

}  // namespace rlivs
