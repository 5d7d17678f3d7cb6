#include "launches.h"

#include "column_sums_kernels.h"
#include "decode_attention_kernels.h"

namespace rlivs {
namespace {

constexpr int kLargestHeadDim = 256;

void add(std::vector<LaunchFacts>& found, const ColumnSumsKernels& kernels, const std::string& type, int head_dim) {
  const std::string suffix = type + (head_dim == 0 ? "" : " D=" + std::to_string(head_dim));
  const int dim = head_dim == 0 ? kLargestHeadDim : head_dim;
  found.push_back({"row_lse " + suffix, kernels.threads, kernels.row_lse_shared_bytes(dim)});
  found.push_back({"column_parts " + suffix, kernels.threads, kernels.column_parts_shared_bytes(dim)});
}

void add(std::vector<LaunchFacts>& found, const DecodeKernels& kernels, const std::string& type, int head_dim) {
  const std::string name =
      "tensor_core_split " + type + " D=" + std::to_string(head_dim) + " heads=" + std::to_string(kernels.heads);
  found.push_back({name, kernels.threads, kernels.shared_bytes(head_dim)});
  found.push_back({name + " scored", kernels.threads, kernels.shared_bytes(head_dim)});
}

}  // namespace

std::vector<LaunchFacts> launches() {
  std::vector<LaunchFacts> found;
#define RLIVS_BOTH_TYPES(prefix, dim, suffix)              \
  add(found, prefix##_half_##dim##suffix, "float16", dim); \
  add(found, prefix##_bfloat16_##dim##suffix, "bfloat16", dim);
  RLIVS_BOTH_TYPES(column_sums, 64, )
  RLIVS_BOTH_TYPES(column_sums, 80, )
  RLIVS_BOTH_TYPES(column_sums, 96, )
  RLIVS_BOTH_TYPES(column_sums, 128, )
  RLIVS_BOTH_TYPES(column_sums, 256, )
  RLIVS_BOTH_TYPES(decode, 64, _8)
  RLIVS_BOTH_TYPES(decode, 64, _16)
  RLIVS_BOTH_TYPES(decode, 80, _8)
  RLIVS_BOTH_TYPES(decode, 80, _16)
  RLIVS_BOTH_TYPES(decode, 96, _8)
  RLIVS_BOTH_TYPES(decode, 96, _16)
  RLIVS_BOTH_TYPES(decode, 128, _8)
  RLIVS_BOTH_TYPES(decode, 128, _16)
  RLIVS_BOTH_TYPES(decode, 256, _8)
#undef RLIVS_BOTH_TYPES
  add(found, column_sums_float, "float32", 0);
  found.push_back({"float_split float32", decode_float.threads, decode_float.shared_bytes(kLargestHeadDim)});
  found.push_back({"row_records", 64, 0});
  found.push_back({"column_sums", column_sums_shared.column_sums_threads, column_sums_shared.column_sums_shared_bytes});
  for (const char* type : {"float16", "bfloat16", "float32"}) {
    found.push_back({std::string("decode_combine ") + type, decode_shared.threads,
                     kMaxDecodeSplits * static_cast<int>(sizeof(float))});
  }
  return found;
}

}  // namespace rlivs
