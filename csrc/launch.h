// Launching, on the host: every return code is checked and becomes a std::runtime_error that names it.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#ifdef RLIVS_EMULATION

#include "simt.h"

namespace rlivs {

using Stream = void*;

class DeviceGuard {
 public:
  explicit DeviceGuard(int) {}
};

inline int multiprocessors() { return simt::multiprocessors(); }

template <class Params>
int blocks_per_multiprocessor(const char*, void (*)(Params), int, int) {
  return 1;
}

template <class Params>
void launch(const char* name, void (*kernel)(Params), int64_t blocks, int threads, int shared_bytes, Stream,
            const Params& params) {
  struct Call {
    void (*kernel)(Params);
    const Params* params;
  } call{kernel, &params};
  simt::run_grid(
      [](const void* context) {
        const auto* call = static_cast<const Call*>(context);
        call->kernel(*call->params);
      },
      &call, name, blocks, threads, shared_bytes);
}

}  // namespace rlivs

#else

#include <cuda_runtime_api.h>

namespace rlivs {

using Stream = cudaStream_t;

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorName(status) + ", " + cudaGetErrorString(status));
}

// Makes a device current, and the caller's device again at the end.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check(cudaGetDevice(&previous_), "cudaGetDevice");
    if (device != previous_) {
      check(cudaSetDevice(device), "cudaSetDevice");
      changed_ = true;
    }
  }
  ~DeviceGuard() {
    if (changed_) static_cast<void>(cudaSetDevice(previous_));
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

// Of the current device.
inline int multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  return count;
}

// How many blocks of a kernel live on a multiprocessor of the current device. Allows it the shared memory it needs,
// and remembers: a kernel must have passed here before its first launch on a device.
template <class Params>
int blocks_per_multiprocessor(const char* name, void (*kernel)(Params), int threads, int shared_bytes) {
  static std::mutex mutex;
  static std::map<std::pair<const void*, std::pair<int, int> >, int> known;
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  const void* address = reinterpret_cast<const void*>(kernel);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [entry, is_new] = known.try_emplace({address, {device, shared_bytes}}, 0);
  if (is_new) {
    // Allowed the device's most, whatever this call takes: another head size of the same kernel may take more.
    int blocks = 0, most = 0;
    cudaError_t status = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (status == cudaSuccess) {
      status = cudaFuncSetAttribute(address, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
    }
    if (status == cudaSuccess && shared_bytes <= most) {
      status = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, address, threads, shared_bytes);
    }
    if (status != cudaSuccess || blocks == 0) {
      known.erase(entry);
      static_cast<void>(cudaGetLastError());
      check(status, name);
      throw std::runtime_error(std::string(name) + ": this device has too little shared memory for a block");
    }
    entry->second = blocks;
  }
  return entry->second;
}

template <class Params>
void launch(const char* name, void (*kernel)(Params), int64_t blocks, int threads, int shared_bytes, Stream stream,
            const Params& params) {
  if (blocks > INT32_MAX) throw std::runtime_error(std::string(name) + ": more than 2^31 - 1 blocks; split the call");
  void* arguments[] = {const_cast<Params*>(&params)};
  check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(static_cast<unsigned>(blocks)),
                         dim3(static_cast<unsigned>(threads)), arguments, static_cast<size_t>(shared_bytes), stream),
        name);
}

}  // namespace rlivs

#endif
