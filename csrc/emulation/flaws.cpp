// Kernels with one flaw each: the emulator must find it. Prints a line a kernel, `name: what was found`.
#include <cstdio>
#include <stdexcept>

#include "launch.h"
#include "rlivs/platform.cuh"

namespace rlivs {
namespace {

struct Params {
  const float* in;
  float* out;
};

float* words() { return reinterpret_cast<float*>(dynamic_shared_memory()); }

void correct(Params p) {
  const int lane = threadIdx.x;
  copy_async_16(shared_address(words() + lane * 4), p.in + lane * 4);
  copy_async_commit();
  copy_async_wait<0>();
  sync_block();
  p.out[lane] = load_shared(words() + (lane + 40) % 64 * 4);
}

void copy_not_waited_for(Params p) {
  const int lane = threadIdx.x;
  copy_async_16(shared_address(words() + lane * 4), p.in + lane * 4);
  copy_async_commit();
  sync_block();
  p.out[lane] = load_shared(words() + lane * 4);
  copy_async_wait<0>();
}

void barrier_missing_before_a_read(Params p) {
  const int lane = threadIdx.x;
  store_shared(words() + lane, p.in[lane]);
  p.out[lane] = load_shared(words() + (lane + 40) % 64);
}

void warp_barrier_across_warps(Params p) {
  const int lane = threadIdx.x;
  store_shared(words() + lane, p.in[lane]);
  sync_warp();
  p.out[lane] = load_shared(words() + (lane + 40) % 64);
}

void barrier_missing_before_a_write(Params p) {
  const int lane = threadIdx.x;
  store_shared(words() + lane, p.in[lane]);
  sync_block();
  p.out[lane] = load_shared(words() + (lane + 40) % 64);
  store_shared(words() + lane, 0.f);
}

void read_of_what_nothing_wrote(Params p) { p.out[threadIdx.x] = load_shared(words() + threadIdx.x); }

void outside_shared_memory(Params p) { store_shared(words() + 1000 + threadIdx.x, p.in[0]); }

void barrier_in_a_branch(Params) {
  if (threadIdx.x < 40) sync_block();
}

void run(const char* name, void (*kernel)(Params)) {
  float in[256] = {}, out[64] = {};
  try {
    for (int seed = 0; seed < 8; ++seed) launch(name, kernel, 1, 64, 1024, nullptr, Params{in, out});
    std::printf("%s: nothing\n", name);
  } catch (const std::runtime_error& error) {
    std::printf("%s: %s\n", name, error.what());
  }
}

}  // namespace
}  // namespace rlivs

int main() {
#define RUN(kernel) rlivs::run(#kernel, rlivs::kernel)
  RUN(correct);
  RUN(copy_not_waited_for);
  RUN(barrier_missing_before_a_read);
  RUN(warp_barrier_across_warps);
  RUN(barrier_missing_before_a_write);
  RUN(read_of_what_nothing_wrote);
  RUN(outside_shared_memory);
  RUN(barrier_in_a_branch);
  return 0;
}
