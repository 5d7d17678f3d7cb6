// Function qualifiers, and nothing else of CUDA: what is included here also compiles as plain C++.
#pragma once

#ifdef __CUDACC__
#define RLIVS_DEVICE __device__ __forceinline__
#define RLIVS_HOST_DEVICE __host__ __device__
#else
#define RLIVS_DEVICE inline
#define RLIVS_HOST_DEVICE
#endif
