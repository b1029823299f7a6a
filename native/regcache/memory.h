// What the registration cache works on: memory that somebody else owns, and whoever registers it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace viaduct::regcache {

struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;  // of the first byte behind it

  size_t size_bytes() const { return end - begin; }
  bool covers(const Range& other) const { return begin <= other.begin && other.end <= end; }
  bool operator==(const Range&) const = default;
};

// One backing store. While it lives its bytes stay allocated, so their addresses name it alone.
class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  virtual ~Memory() = default;

  // It may grow at its end; it never shrinks.
  virtual Range bytes() const = 0;
  // Whether nobody can ask for it again: given away, or forgotten.
  virtual bool gone() const = 0;
  // The first user of any part came, the last one went: what is in use may not be forgotten.
  virtual void hold() = 0;
  virtual void let_go() = 0;
};

struct Registration {
  uint32_t handle = 0;
  uint32_t lkey = 0;
  uint32_t rkey = 0;
};

class Registrar {
 public:
  Registrar() = default;
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;
  virtual ~Registrar() = default;

  // 0 and `made`, or an errno value. The memory is kept until the registration is removed.
  virtual int add(const std::shared_ptr<Memory>& memory, const Range& range, uint32_t access,
                  Registration& made) = 0;
  virtual void remove(const Registration& registration) = 0;
};

}  // namespace viaduct::regcache
