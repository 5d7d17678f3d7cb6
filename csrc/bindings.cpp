// The Python module: addresses, shapes and a stream in, nothing of torch. Errors of CUDA become RuntimeError.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "column_sums.h"
#include "decode_attention.h"
#include "launches.h"

namespace py = pybind11;

namespace rlivs {
namespace {

template <class T>
T* pointer(int64_t address) {
  return reinterpret_cast<T*>(static_cast<uintptr_t>(address));
}

using Three = std::array<int64_t, 3>;
using TableTuple = std::tuple<int64_t, int64_t, int, int>;  // address (0: no table), blocks a row, blocks, keys a block

Strides strides(const Three& s) { return {s[0], static_cast<int32_t>(s[1]), static_cast<int32_t>(s[2])}; }

CacheStrides cache_strides(const Three& s) { return {s[0], s[1], s[2]}; }

BlockTable block_table(const TableTuple& t) {
  return {pointer<const int32_t>(std::get<0>(t)), std::get<1>(t), std::get<2>(t), FastDivider(std::get<3>(t))};
}

struct ColumnSums {
  ColumnSumsShape shape;
  ColumnSumsPlan plan;
  int device;
};

ColumnSums plan_sums(int device, int type, int layers, int batch, int num_heads, int num_kv_heads, int num_rows,
                     int num_keys, int num_columns, int head_dim, bool given_lse, bool per_head) {
  const DeviceGuard guard(device);
  const ColumnSumsShape shape{static_cast<ElementType>(type),
                              layers,
                              batch,
                              num_heads,
                              num_kv_heads,
                              num_rows,
                              num_keys,
                              num_columns,
                              head_dim,
                              given_lse,
                              per_head};
  return {shape, plan_column_sums(shape), device};
}

using LayerTuple = std::tuple<int64_t, Three, int64_t, Three, int64_t, Three>;  // query, key, lse: address, strides

void run_sums(const ColumnSums& call, const std::vector<LayerTuple>& layers, int64_t query_start, int64_t key_start,
              int64_t column_start, int64_t row_mask, const TableTuple& table, int64_t out, int64_t workspace,
              float scale, float softcap, int sliding_window, int reduction, int64_t stream) {
  if (static_cast<int>(layers.size()) != call.shape.layers) throw py::value_error("layers do not match the plan");
  const DeviceGuard guard(call.device);
  ColumnSumsArguments arguments{};
  for (const auto& [query, query_strides, key, key_strides, lse, lse_strides] : layers) {
    arguments.layers.push_back({pointer<const void>(query), pointer<const void>(key), pointer<const float>(lse),
                                strides(query_strides), strides(key_strides), strides(lse_strides)});
  }
  arguments.query_start = pointer<const int32_t>(query_start);
  arguments.key_start = pointer<const int32_t>(key_start);
  arguments.column_start = pointer<const int32_t>(column_start);
  arguments.row_mask = pointer<const uint8_t>(row_mask);
  arguments.table = block_table(table);
  arguments.out = pointer<float>(out);
  arguments.workspace = pointer<void>(workspace);
  arguments.scale = scale;
  arguments.softcap = softcap;
  arguments.sliding_window = sliding_window;
  arguments.reduction = static_cast<Reduction>(reduction);
  launch_column_sums(call.shape, call.plan, arguments, pointer<std::remove_pointer_t<Stream>>(stream));
}

struct Decode {
  DecodeShape shape;
  DecodePlan plan;
  int device;
};

Decode plan_step(int device, int type, int batch, int num_heads, int num_kv_heads, int num_keys, int num_columns,
                 int head_dim) {
  const DeviceGuard guard(device);
  const DecodeShape shape{
      static_cast<ElementType>(type), batch, num_heads, num_kv_heads, num_keys, num_columns, head_dim};
  return {shape, plan_decode(shape), device};
}

void run_step(const Decode& call, int64_t query, const Three& query_strides, int64_t key, const Three& key_strides,
              int64_t value, const Three& value_strides, int64_t key_lengths, int64_t key_start, int64_t column_start,
              const TableTuple& table, int64_t out, int64_t lse, int64_t column_sums, int64_t column_sums_stride,
              int64_t workspace, float scale, float softcap, int sliding_window, int64_t stream) {
  const DeviceGuard guard(call.device);
  DecodeParams p{};
  p.query = pointer<const void>(query);
  p.key = pointer<const void>(key);
  p.value = pointer<const void>(value);
  p.query_strides = cache_strides(query_strides);
  p.key_strides = cache_strides(key_strides);
  p.value_strides = cache_strides(value_strides);
  p.key_lengths = pointer<const int32_t>(key_lengths);
  p.key_start = pointer<const int32_t>(key_start);
  p.column_start = pointer<const int32_t>(column_start);
  p.table = block_table(table);
  p.sliding_window = sliding_window;
  p.logit = LogitScale(scale, softcap);
  p.out = pointer<void>(out);
  p.lse = pointer<float>(lse);
  p.column_sums = pointer<float>(column_sums);
  p.column_sums_stride = column_sums_stride;
  launch_decode(call.shape, call.plan, p, pointer<void>(workspace), pointer<std::remove_pointer_t<Stream>>(stream));
}

py::dict build_info() {
  py::dict info;
  info["architectures"] = RLIVS_ARCHITECTURES;
  info["nvcc"] = RLIVS_NVCC_VERSION;
  info["head_sizes"] = std::vector<int>{64, 80, 96, 128, 256};
  return info;
}

}  // namespace

PYBIND11_MODULE(RLIVS_MODULE, module) {
  module.doc() = "CUDA kernels of rlivs_kernels, on raw addresses. Use rlivs_kernels.ops.";
  py::class_<ColumnSums>(module, "ColumnSumsPlan")
      .def(py::init(&plan_sums), py::arg("device"), py::arg("type"), py::arg("layers"), py::arg("batch"),
           py::arg("num_heads"), py::arg("num_kv_heads"), py::arg("num_rows"), py::arg("num_keys"),
           py::arg("num_columns"), py::arg("head_dim"), py::arg("given_lse"), py::arg("per_head"))
      .def_property_readonly("workspace_bytes", [](const ColumnSums& c) { return c.plan.workspace_bytes(); })
      .def_property_readonly("key_splits", [](const ColumnSums& c) { return c.plan.key_splits; })
      .def_property_readonly("row_splits", [](const ColumnSums& c) { return c.plan.row_splits; })
      .def("run", &run_sums, py::arg("layers"), py::arg("query_start"), py::arg("key_start"), py::arg("column_start"),
           py::arg("row_mask"), py::arg("table"), py::arg("out"), py::arg("workspace"), py::arg("scale"),
           py::arg("softcap"), py::arg("sliding_window"), py::arg("reduction"), py::arg("stream"));
  py::class_<Decode>(module, "DecodePlan")
      .def(py::init(&plan_step), py::arg("device"), py::arg("type"), py::arg("batch"), py::arg("num_heads"),
           py::arg("num_kv_heads"), py::arg("num_keys"), py::arg("num_columns"), py::arg("head_dim"))
      .def_property_readonly("workspace_bytes", [](const Decode& c) { return c.plan.workspace_bytes(); })
      .def_property_readonly("splits", [](const Decode& c) { return c.plan.splits; })
      .def("run", &run_step, py::arg("query"), py::arg("query_strides"), py::arg("key"), py::arg("key_strides"),
           py::arg("value"), py::arg("value_strides"), py::arg("key_lengths"), py::arg("key_start"),
           py::arg("column_start"), py::arg("table"), py::arg("out"), py::arg("lse"), py::arg("column_sums"),
           py::arg("column_sums_stride"), py::arg("workspace"), py::arg("scale"), py::arg("softcap"),
           py::arg("sliding_window"), py::arg("stream"));
  module.def("build_info", &build_info, "What the module was built for and with.");
  module.def(
      "launches",
      [] {
        py::list found;
        for (const LaunchFacts& each : launches()) {
          found.append(py::dict(py::arg("name") = each.name, py::arg("threads") = each.threads,
                                py::arg("shared_bytes") = each.shared_bytes));
        }
        return found;
      },
      "Every kernel, with the threads and dynamic shared memory of a launch.");
#ifdef RLIVS_EMULATION
  module.def("set_seed", &simt::set_seed, "Seeds the order of threads and copies; resets the statistics.");
  module.def("set_multiprocessors", &simt::set_multiprocessors, "Of the device that is emulated; 4 at first.");
  module.def("statistics", [] {
    const simt::Statistics s = simt::statistics();
    return py::dict(py::arg("blocks") = s.blocks, py::arg("conflicting_matrix_loads") = s.conflicting_matrix_loads);
  });
#endif
}

}  // namespace rlivs
