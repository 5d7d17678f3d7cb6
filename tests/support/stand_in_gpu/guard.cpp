// Tells PyTorch of CUDA devices: without a guard, its CPU build refuses every tensor that names one. The guard of a CUDA
// build, which this one takes the place of, would ask the driver.
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {

using c10::Device;
using c10::DeviceType;
using c10::Stream;

struct StandInGuard final : c10::impl::DeviceGuardImplInterface {
    DeviceType type() const override { return DeviceType::CUDA; }
    Device exchangeDevice(Device) const override { return getDevice(); }
    Device getDevice() const override { return {DeviceType::CUDA, 0}; }
    void setDevice(Device) const override {}
    void uncheckedSetDevice(Device) const noexcept override {}
    Stream getStream(Device device) const override { return Stream(Stream::DEFAULT, device); }
    Stream exchangeStream(Stream stream) const override { return stream; }
    c10::DeviceIndex deviceCount() const noexcept override { return 2; }
};

C10_REGISTER_GUARD_IMPL(CUDA, StandInGuard)

}  // namespace
