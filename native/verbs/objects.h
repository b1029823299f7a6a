// The verbs objects that one JavaScript thread made, by handle. JavaScript never holds a pointer: a
// handle that is stale or of another kind finds nothing. What is still there when the thread ends
// is destroyed, children before parents.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "verbs/provider.h"

namespace viaduct::verbs {

// 0 is never a handle.
using Handle = uint32_t;

enum class Kind : uint8_t {
  context,
  pd,
  mr,
  mw,
  channel,
  cq,
  qp,
  srq,
  ah,
  xrcd,
  ring,
  registration_cache
};

struct Object {
  Object(Kind kind, std::shared_ptr<const Provider> provider)
      : kind(kind), provider(std::move(provider)) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  // 0, or the errno value of the verb; then the object is as it was.
  virtual int destroy() { return 0; }

  const Kind kind;
  const std::shared_ptr<const Provider> provider;
  Handle handle = 0;
};

struct Context final : Object {
  static constexpr Kind its_kind = Kind::context;
  Context(std::shared_ptr<const Provider> provider, ibv_context* verbs)
      : Object(its_kind, std::move(provider)), verbs(verbs) {}
  int destroy() override;
  ibv_context* const verbs;
};

struct Region;

// The regions of a domain whose ArrayBuffer can be detached, by lkey. Work requests mostly name one
// again and again, so the last one asked for is remembered.
class DetachableRegions {
 public:
  void insert(uint32_t lkey, const Region* region);
  void erase(uint32_t lkey);
  bool empty() const { return regions_.empty(); }
  // Null: there is none of that key.
  const Region* find(uint32_t lkey) const;

 private:
  std::unordered_map<uint32_t, const Region*> regions_;
  mutable uint32_t last_lkey_ = 0;
  mutable const Region* last_ = nullptr;
};

struct Domain final : Object {
  static constexpr Kind its_kind = Kind::pd;
  Domain(const Context& context, ibv_pd* verbs)
      : Object(its_kind, context.provider), context(&context), verbs(verbs) {}
  int destroy() override;
  const Context* const context;
  ibv_pd* const verbs;
  DetachableRegions detachable;
};

// The JavaScript memory beneath a region.
struct Backing {
  virtual ~Backing() = default;
  // Whether the ArrayBuffer that was registered is still the one that has this memory.
  virtual bool attached() const = 0;
};

struct Region final : Object {
  static constexpr Kind its_kind = Kind::mr;
  Region(Domain& domain, ibv_mr* verbs, std::unique_ptr<Backing> backing)
      : Object(its_kind, domain.provider),
        domain(&domain),
        verbs(verbs),
        backing(std::move(backing)) {}
  int destroy() override;
  // Under the domain's `detachable` by its present lkey.
  void enlist();
  void delist();

  Domain* domain;
  ibv_mr* const verbs;
  // Keeps the memory allocated until it is deregistered, whatever JavaScript does. Null: a dma-buf.
  std::unique_ptr<Backing> backing;
};

struct Window final : Object {
  static constexpr Kind its_kind = Kind::mw;
  Window(const Domain& domain, ibv_mw* verbs) : Object(its_kind, domain.provider), verbs(verbs) {}
  int destroy() override;
  ibv_mw* const verbs;
};

struct Channel final : Object {
  static constexpr Kind its_kind = Kind::channel;
  Channel(const Context& context, ibv_comp_channel* verbs)
      : Object(its_kind, context.provider), verbs(verbs) {}
  int destroy() override;
  ibv_comp_channel* const verbs;
};

struct CompletionQueue final : Object {
  static constexpr Kind its_kind = Kind::cq;
  CompletionQueue(const Context& context, ibv_cq* verbs, ibv_cq_ex* extended)
      : Object(its_kind, context.provider), verbs(verbs), extended(extended) {}
  int destroy() override;
  ibv_cq* verbs;
  // Null: made by ibv_create_cq.
  ibv_cq_ex* extended;
  uint64_t wc_flags = 0;
};

struct SharedReceiveQueue final : Object {
  static constexpr Kind its_kind = Kind::srq;
  SharedReceiveQueue(Domain& domain, ibv_srq* verbs)
      : Object(its_kind, domain.provider), domain(&domain), verbs(verbs) {}
  int destroy() override;
  Domain* const domain;
  ibv_srq* verbs;
};

struct QueuePair final : Object {
  static constexpr Kind its_kind = Kind::qp;
  QueuePair(const Context& context, Domain* domain, ibv_qp* verbs, ibv_qp_ex* extended)
      : Object(its_kind, context.provider),
        context(&context),
        domain(domain),
        verbs(verbs),
        extended(extended) {}
  int destroy() override;
  const Context* const context;
  // Null: an XRC target, which has none.
  Domain* const domain;
  ibv_qp* verbs;
  // Not null: requests are posted by the ibv_wr_* functions.
  ibv_qp_ex* extended;
};

struct AddressHandle final : Object {
  static constexpr Kind its_kind = Kind::ah;
  AddressHandle(const Domain& domain, ibv_ah* verbs)
      : Object(its_kind, domain.provider), verbs(verbs) {}
  int destroy() override;
  ibv_ah* const verbs;
};

struct XrcDomain final : Object {
  static constexpr Kind its_kind = Kind::xrcd;
  XrcDomain(const Context& context, ibv_xrcd* verbs)
      : Object(its_kind, context.provider), context(&context), verbs(verbs) {}
  int destroy() override;
  const Context* const context;
  ibv_xrcd* const verbs;
};

class Objects {
 public:
  Objects() = default;
  Objects(const Objects&) = delete;
  Objects& operator=(const Objects&) = delete;
  ~Objects();

  template <typename T>
  T* add(std::unique_ptr<T> object) {
    T* raw = object.get();
    insert(std::move(object));
    return raw;
  }

  template <typename T>
  T* find(Handle handle) const {
    const uint32_t index = handle & index_mask;
    if (index >= slots_.size()) return nullptr;
    Object* object = slots_[index].get();
    if (object == nullptr || object->handle != handle || object->kind != T::its_kind) {
      return nullptr;
    }
    return static_cast<T*>(object);
  }

  // 0, or the errno value of the verb: EBUSY while children are there. A stale handle: EBADF.
  int destroy(Handle handle);

 private:
  static constexpr uint32_t index_bits = 20;
  static constexpr uint32_t index_mask = (1u << index_bits) - 1;

  void insert(std::unique_ptr<Object> object);

  std::vector<std::unique_ptr<Object>> slots_;
  std::vector<uint32_t> free_;
  uint32_t generation_ = 0;
};

}  // namespace viaduct::verbs
