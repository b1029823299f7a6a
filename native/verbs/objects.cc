#include "verbs/objects.h"

#include <cerrno>
#include <utility>

namespace viaduct::verbs {

int Context::destroy() { return provider->ibv_close_device(verbs) == 0 ? 0 : errno; }

int Domain::destroy() { return provider->ibv_dealloc_pd(verbs); }

void DetachableRegions::insert(uint32_t lkey, const Region* region) {
  regions_.insert_or_assign(lkey, region);
  last_ = nullptr;
}

void DetachableRegions::erase(uint32_t lkey) {
  regions_.erase(lkey);
  last_ = nullptr;
}

const Region* DetachableRegions::find(uint32_t lkey) const {
  if (last_ != nullptr && last_lkey_ == lkey) return last_;
  const auto found = regions_.find(lkey);
  if (found == regions_.end()) return nullptr;
  last_lkey_ = lkey;
  last_ = found->second;
  return last_;
}

int Region::destroy() {
  const uint32_t lkey = verbs->lkey;
  const int error = provider->ibv_dereg_mr(verbs);
  if (error == 0) domain->detachable.erase(lkey);
  return error;
}

void Region::enlist() {
  if (backing) domain->detachable.insert(verbs->lkey, this);
}

void Region::delist() { domain->detachable.erase(verbs->lkey); }

// The operations of windows are in the context's table, not among the exports.
int Window::destroy() { return verbs->context->ops.dealloc_mw(verbs); }

int Channel::destroy() { return provider->ibv_destroy_comp_channel(verbs); }

int CompletionQueue::destroy() { return provider->ibv_destroy_cq(verbs); }

int SharedReceiveQueue::destroy() { return provider->ibv_destroy_srq(verbs); }

int QueuePair::destroy() { return provider->ibv_destroy_qp(verbs); }

int AddressHandle::destroy() { return provider->ibv_destroy_ah(verbs); }

int XrcDomain::destroy() {
  verbs_context* extended = verbs_get_ctx_op(context->verbs, close_xrcd);
  return extended == nullptr ? EOPNOTSUPP : extended->close_xrcd(verbs);
}

Objects::~Objects() {
  // A window that is bound keeps its region busy, so one round may not do.
  for (bool progress = true; progress;) {
    progress = false;
    for (size_t rank = 0; rank <= static_cast<size_t>(Kind::registration_cache); ++rank) {
      // Windows before the queue pairs that they are bound by: the kernel waits for them.
      // A cache before regions: those that it has made are its own to end.
      static constexpr Kind order[] = {
          Kind::mw,   Kind::qp,     Kind::srq,  Kind::ah,      Kind::registration_cache,
          Kind::mr,   Kind::cq,     Kind::xrcd, Kind::channel, Kind::pd,
          Kind::ring, Kind::context};
      for (auto& slot : slots_) {
        if (slot == nullptr || slot->kind != order[rank] || slot->destroy() != 0) continue;
        slot.reset();
        progress = true;
      }
    }
  }
  // What a provider refuses to destroy stays the process's; its memory must stay, too.
  for (auto& slot : slots_) (void)slot.release();
}

void Objects::insert(std::unique_ptr<Object> object) {
  uint32_t index = 0;
  if (free_.empty()) {
    index = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  // The generation makes a handle of an object that is gone differ from its successor's, for the
  // next 4095 of them; JavaScript's classes forget handles at close.
  do {
    generation_ += 1u << index_bits;
  } while (generation_ == 0);
  object->handle = generation_ | index;
  slots_[index] = std::move(object);
}

int Objects::destroy(Handle handle) {
  const uint32_t index = handle & index_mask;
  if (index >= slots_.size() || slots_[index] == nullptr || slots_[index]->handle != handle) {
    return EBADF;
  }
  const int error = slots_[index]->destroy();
  if (error != 0) return error;
  slots_[index].reset();
  free_.push_back(index);
  return 0;
}

}  // namespace viaduct::verbs
