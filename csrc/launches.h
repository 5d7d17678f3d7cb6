// Every instantiated kernel with the threads and the dynamic shared memory it is launched with.
#pragma once

#include <string>
#include <vector>

namespace rlivs {

struct LaunchFacts {
  std::string name;
  int threads;
  int shared_bytes;  // at the largest head size, where one kernel serves all
};

std::vector<LaunchFacts> launches();

}  // namespace rlivs
