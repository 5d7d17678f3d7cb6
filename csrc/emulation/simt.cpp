#include "simt.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace simt {
namespace {

constexpr int kWarp = 32;
constexpr size_t kStackBytes = 128 * 1024;
constexpr unsigned char kPoison = 0xff;  // NaN in fp32, fp16 and bf16

struct Copy {
  uint32_t to;
  unsigned char data[16];
  bool landed;
  int group;
};

struct Thread {
  ucontext_t context;
  jmp_buf resume;
  bool started = false, finished = false, waiting = false;
  std::vector<Copy> copies;
  int open_group = 0;
};

struct Collective {
  std::vector<void*> operands;
  int arrived = 0;
  const char* name = nullptr;
};

// Of one 4-byte word of shared memory: who touched it last, and when. Times count barriers.
struct Word {
  int writer = -1, write_block_time = 0, write_warp_time = 0;
  int reader_warp = -1, read_block_time = -1, read_warp_time = 0;  // reader_warp -2: several warps
  bool in_flight = false;
};

struct Launch {
  void (*entry)(const void*);
  const void* context;
  std::string name;
  int threads = 0;
};

Launch launch_;
Index3 block_index_, thread_index_;
std::vector<Thread> threads_;
std::vector<std::unique_ptr<unsigned char[]>> stacks_;
std::vector<unsigned char> shared_;
std::vector<Word> words_;
std::vector<Collective> warps_;
std::vector<int> warp_time_;
Collective block_;
int block_time_ = 0;
jmp_buf scheduler_;
std::string failure_;
std::mt19937_64 random_(1);
Statistics statistics_{};
int multiprocessors_ = 4;

[[noreturn]] void switch_to_scheduler() { _longjmp(scheduler_, 1); }

void yield() {
  Thread& own = threads_[thread_index_.x];
  if (_setjmp(own.resume) == 0) switch_to_scheduler();
}

void fail(const std::string& what) {
  if (failure_.empty()) {
    failure_ = launch_.name + ", block " + std::to_string(block_index_.x) + ", thread " +
               std::to_string(thread_index_.x) + ": " + what;
  }
  switch_to_scheduler();
}

void thread_main() {
  launch_.entry(launch_.context);
  Thread& own = threads_[thread_index_.x];
  if (!own.copies.empty()) fail("ends with asynchronous copies under way");
  own.finished = true;
  switch_to_scheduler();
}

void arrive(Collective& collective, int first, int count, int live, Execute execute, void* operand, const char* name) {
  const int thread = static_cast<int>(thread_index_.x);
  if (collective.arrived == 0) {
    collective.name = name;
    collective.operands.assign(count, nullptr);
  } else if (std::strcmp(collective.name, name) != 0) {
    fail(std::string("arrives at ") + name + " while others wait at " + collective.name);
  }
  collective.operands[thread - first] = operand;
  if (++collective.arrived == live) {
    collective.arrived = 0;
    if (execute != nullptr) execute(collective.operands.data(), count);
    for (int i = first; i < first + count; ++i) threads_[i].waiting = false;
    return;
  }
  threads_[thread].waiting = true;
  yield();
}

template <class Check>
void each_word(const void* address, int bytes, const Check& check) {
  const auto offset = static_cast<const unsigned char*>(address) - shared_.data();
  if (offset < 0 || offset + bytes > static_cast<std::ptrdiff_t>(shared_.size()))
    fail("touches memory outside the block's shared memory");
  for (auto word = offset / 4; word < (offset + bytes + 3) / 4; ++word) check(words_[word]);
}

void begin_write(Word& word) {
  const int thread = static_cast<int>(thread_index_.x), warp = thread / kWarp;
  if (word.in_flight) fail("writes shared memory that an asynchronous copy is writing");
  const bool same_interval = word.read_block_time == block_time_;
  if (same_interval && (word.reader_warp != warp || word.read_warp_time == warp_time_[warp])) {
    fail("writes shared memory that others may still read: a barrier is missing");
  }
  const bool other_writer = word.writer >= 0 && word.writer != thread && word.write_block_time == block_time_;
  if (other_writer && (word.writer / kWarp != warp || word.write_warp_time == warp_time_[warp])) {
    fail("writes shared memory that another thread wrote: a barrier is missing");
  }
}

void end_write(Word& word) {
  const int thread = static_cast<int>(thread_index_.x);
  word.writer = thread;
  word.write_block_time = block_time_;
  word.write_warp_time = warp_time_[thread / kWarp];
  word.in_flight = false;
}

void run_block() {
  const int count = launch_.threads;
  threads_.assign(count, Thread{});
  std::fill(shared_.begin(), shared_.end(), kPoison);
  std::fill(words_.begin(), words_.end(), Word{});
  warps_.assign(count / kWarp, Collective{});
  warp_time_.assign(count / kWarp, 0);
  block_ = Collective{};
  block_time_ = 0;
  std::vector<int> order(count);
  for (int i = 0; i < count; ++i) order[i] = i;

  for (int live = count; live > 0;) {
    std::shuffle(order.begin(), order.end(), random_);
    bool progress = false;
    for (const int index : order) {
      Thread& thread = threads_[index];
      if (thread.finished || thread.waiting) continue;
      progress = true;
      thread_index_.x = index;
      if (_setjmp(scheduler_) == 0) {
        if (thread.started) _longjmp(thread.resume, 1);
        thread.started = true;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = stacks_[index].get();
        thread.context.uc_stack.ss_size = kStackBytes;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, thread_main, 0);
        setcontext(&thread.context);
      }
      if (!failure_.empty()) throw std::runtime_error(failure_);
      if (thread.finished) --live;
    }
    if (!progress) throw std::runtime_error(launch_.name + ": threads wait at a barrier that the others never reach");
  }
  ++statistics_.blocks;
}

}  // namespace

const Index3& thread_index() { return thread_index_; }
const Index3& block_index() { return block_index_; }
unsigned char* shared_memory() { return shared_.data(); }
Statistics statistics() { return statistics_; }

void set_seed(uint64_t seed) {
  random_.seed(seed);
  statistics_ = {};
}

int multiprocessors() { return multiprocessors_; }
void set_multiprocessors(int count) { multiprocessors_ = count; }

void warp_collective(Execute execute, void* operand, const char* name, bool orders_memory) {
  const int warp = static_cast<int>(thread_index_.x) / kWarp;
  const bool last = warps_[warp].arrived == kWarp - 1;
  if (last && orders_memory) ++warp_time_[warp];
  arrive(warps_[warp], warp * kWarp, kWarp, kWarp, execute, operand, name);
}

void block_collective(Execute execute, void* operand, const char* name) {
  if (block_.arrived == launch_.threads - 1) ++block_time_;
  arrive(block_, 0, launch_.threads, launch_.threads, execute, operand, name);
}

void record_read(const void* address, int bytes) {
  each_word(address, bytes, [](Word& word) {
    const int thread = static_cast<int>(thread_index_.x), warp = thread / kWarp;
    if (word.in_flight) fail("reads shared memory before its asynchronous copy was waited for");
    if (word.writer < 0) fail("reads shared memory that nothing wrote");
    const bool same_interval = word.writer != thread && word.write_block_time == block_time_;
    if (same_interval && (word.writer / kWarp != warp || word.write_warp_time == warp_time_[warp])) {
      fail("reads shared memory that another thread wrote: a barrier is missing");
    }
    const bool again = word.read_block_time == block_time_ && word.reader_warp != warp;
    word.reader_warp = again ? -2 : warp;
    word.read_block_time = block_time_;
    word.read_warp_time = warp_time_[warp];
  });
}

void record_write(const void* address, int bytes) {
  each_word(address, bytes, [](Word& word) {
    begin_write(word);
    end_write(word);
  });
}

// ldmatrix reads eight 16-byte rows at a time: they must lie in different banks.
void count_bank_conflicts(void* const* addresses) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    unsigned banks = 0;
    for (int row = 0; row < 8; ++row) {
      const auto offset = static_cast<unsigned char*>(addresses[matrix * 8 + row]) - shared_.data();
      if (offset % 16 != 0) fail("loads a matrix row that is not aligned to 16 bytes");
      banks |= 1u << (offset / 16 % 8);
    }
    if (banks != 0xff) ++statistics_.conflicting_matrix_loads;
  }
}

void copy_async(uint32_t to, const void* from) {
  if (to % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) fail("copies 16 bytes that are not aligned");
  each_word(shared_.data() + to, 16, [](Word& word) {
    begin_write(word);
    word.in_flight = true;
  });
  Thread& own = threads_[thread_index_.x];
  Copy copy{to, {}, random_() % 2 == 0, own.open_group};
  std::memcpy(copy.data, from, 16);
  if (copy.landed) std::memcpy(shared_.data() + to, copy.data, 16);
  own.copies.push_back(copy);
}

void copy_async_commit() { ++threads_[thread_index_.x].open_group; }

void copy_async_wait(int pending) {
  Thread& own = threads_[thread_index_.x];
  auto landed = [&](const Copy& copy) { return copy.group < own.open_group - pending; };
  for (const Copy& copy : own.copies) {
    if (!landed(copy)) continue;
    if (!copy.landed) std::memcpy(shared_.data() + copy.to, copy.data, 16);
    each_word(shared_.data() + copy.to, 16, end_write);
  }
  own.copies.erase(std::remove_if(own.copies.begin(), own.copies.end(), landed), own.copies.end());
}

void run_grid(void (*entry)(const void*), const void* context, const char* name, int64_t blocks, int threads,
              int shared_bytes) {
  if (threads % kWarp != 0) throw std::runtime_error("blocks are whole warps");
  failure_.clear();
  launch_ = Launch{entry, context, name, threads};
  shared_.assign(shared_bytes, kPoison);
  words_.assign((shared_bytes + 3) / 4, Word{});
  while (static_cast<int>(stacks_.size()) < threads) stacks_.emplace_back(new unsigned char[kStackBytes]);
  for (int64_t block = 0; block < blocks; ++block) {
    block_index_.x = static_cast<unsigned>(block);
    run_block();
  }
}

}  // namespace simt

namespace rlivs {

float to_float(uint16_t bits, BFloat16) {
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

float to_float(uint16_t bits, Half) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float sign = bits >> 15 ? -1.f : 1.f;
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
}

uint16_t from_float(float value, BFloat16) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  if (value != value) return 0x7fff;
  return static_cast<uint16_t>((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

uint16_t from_float(float value, Half) {
  if (value != value) return 0x7fff;
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float size = std::fabs(value);
  if (size == 0.f) return sign;
  if (size >= 65520.f) return sign | 0x7c00;
  int exponent;
  std::frexp(size, &exponent);                    // size = f * 2^exponent, 0.5 <= f < 1
  const int unit = std::max(exponent - 11, -24);  // of the last bit
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(size, -unit)));
  if (unit == -24) return static_cast<uint16_t>(sign | steps);  // subnormal, or the first normal by carry
  return static_cast<uint16_t>(sign | (((unit + 24) << 10) + steps));
}

}  // namespace rlivs
