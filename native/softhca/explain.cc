// Says by which path the data of a queue pair travels, and why.
#include "softhca/explain.h"

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "softhca/key_table.h"
#include "softhca/network.h"
#include "softhca/packet_queue.h"
#include "softhca/qp.h"

namespace softhca {
namespace {

const char* sentence(viaduct_path_reason reason) {
  switch (reason) {
    case VIADUCT_REASON_NOT_CONNECTED:
      return "the queue pair is not connected; bring it to RTR";
    case VIADUCT_REASON_DATAGRAM:
      return "each message of a datagram queue pair has a destination of its own";
    case VIADUCT_REASON_NO_PEER:
      return "no process on this host has the destination queue pair; check dest_qp_num, and that "
             "the peer runs as the same user";
    case VIADUCT_REASON_PEER_GONE:
      return "the peer's process has ended, or the queue pair there was destroyed";
    case VIADUCT_REASON_SAME_PROCESS:
      return "both queue pairs belong to this process";
    case VIADUCT_REASON_NO_REGION:
      return "the peer has registered no memory in the protection domain of its queue pair yet";
    case VIADUCT_REASON_SHARED_FILE:
      return "the peer's memory lies in files that both processes map";
    case VIADUCT_REASON_PRIVATE:
      return "the peer's memory is not in a file that both processes map; register memory of a "
             "sealed memfd, or run the peer with VIADUCT_REMAP=1";
    case VIADUCT_REASON_REMAP_REFUSED:
      return "the peer's memory could not be remapped at registration: only private, anonymous, "
             "writable memory can be, and not the stack of the registering thread";
    case VIADUCT_REASON_SEVERAL_FILES:
      return "a region of the peer spans several mappings; register each by itself";
    case VIADUCT_REASON_FILE_NOT_OPEN:
      return "the peer has no descriptor open for reading and writing of the file that its memory "
             "lies in; keep it open until the memory is registered";
    case VIADUCT_REASON_FILE_MAY_SHRINK:
      return "the file that the peer's memory lies in may be truncated; use a memfd sealed with "
             "F_SEAL_SHRINK";
    case VIADUCT_REASON_TOO_MANY_FILES:
      return "the peer's memory lies in more files than it may share";
    case VIADUCT_REASON_MAP_FAILED:
      return "the file that the peer's memory lies in could not be mapped here (pidfd_getfd needs "
             "the rights of ptrace)";
    case VIADUCT_REASON_COPY_REFUSED:
      return "the kernel refuses to copy between the processes (process_vm_readv needs the rights "
             "of ptrace and one PID namespace)";
    case VIADUCT_REASON_ON_DEMAND:
      return "the peer registered its memory with IBV_ACCESS_ON_DEMAND, so what is mapped there "
             "may change; register without it for the direct path";
    case VIADUCT_REASON_OTHER_HOST:
      return "the peer's GID is not an address of this host (of its network namespace), so "
             "messages "
             "travel as RoCEv2 packets over UDP port 4791";
    case VIADUCT_REASON_OTHER_USER:
      return "the peer's GID is an address of this host, but no process of this user has the queue "
             "pair, so messages travel as RoCEv2 packets over UDP port 4791";
    case VIADUCT_REASON_PACKETS_ONLY:
      return "VIADUCT_PACKETS=1 was set here or for the peer, so messages travel as RoCEv2 packets "
             "over UDP port 4791 within this host, too";
    case VIADUCT_REASON_RINGS:
      return "the GIDs are of an aperture (VIADUCT_PACKET_RINGS), so messages travel as packets "
             "through its rings";
  }
  return "";
}

// 0 if the kernel copies between that process and this one, or errno. Nothing is mapped at address
// 0, so a permitted copy faults there; that is an answer, too.
int copy_error(pid_t pid) {
  uint8_t byte;
  iovec mine{&byte, 1}, theirs{nullptr, 1};
  if (process_vm_readv(pid, &mine, 1, &theirs, 1, 0) >= 0 || errno == EFAULT) return 0;
  return errno;
}

// Calls visit for each valid entry. The table is sparse; reading a hole of it would fill it.
template <typename Visit>
void for_each_key(const Site& site, Visit visit) {
  const auto page = size_t(sysconf(_SC_PAGESIZE));
  constexpr size_t bytes = sizeof(KeyTable);
  std::vector<unsigned char> present((bytes + page - 1) / page);
  if (mincore(const_cast<KeyTable*>(site.keys), bytes, present.data()) != 0)
    std::fill(present.begin(), present.end(), 1);
  for (uint32_t i = 0; i < key_slots; ++i) {
    if (!(present[i * sizeof(KeyEntry) / page] & 1)) continue;
    const KeyEntry& entry = site.keys->entry[i];
    if (entry.key.load(std::memory_order_acquire) != 0) visit(entry);
  }
}

struct Verdict {
  viaduct_path path = VIADUCT_PATH_NONE;
  viaduct_path_reason reason = VIADUCT_REASON_NOT_CONNECTED;
  int error = 0;
};

Verdict judge_regions(Site& site, uint32_t pd, viaduct_qp_path& path) {
  Verdict verdict;
  verdict.reason = VIADUCT_REASON_NO_REGION;
  for_each_key(site, [&](const KeyEntry& entry) {
    if (entry.kind != key_region || entry.pd != pd) return;
    const uint32_t map_id = entry.map_id;
    if (map_id != 0 && site.mapped(entry.map_fd, map_id, entry.map_offset, entry.length)) {
      ++path.direct_regions;
      return;
    }
    ++path.copied_regions;
    // The entry is a peer's: its reason may be any number.
    const uint32_t told = entry.unmapped;
    const bool known = (told >= VIADUCT_REASON_PRIVATE && told <= VIADUCT_REASON_TOO_MANY_FILES) ||
                       told == VIADUCT_REASON_ON_DEMAND;
    verdict.reason = map_id != 0 ? VIADUCT_REASON_MAP_FAILED
                     : known     ? viaduct_path_reason(told)
                                 : VIADUCT_REASON_PRIVATE;
    verdict.error = map_id != 0 ? site.mapping_error(map_id) : 0;
  });
  if (path.copied_regions == 0 && path.direct_regions == 0) return verdict;
  if (path.copied_regions == 0) return {VIADUCT_PATH_DIRECT, VIADUCT_REASON_SHARED_FILE, 0};
  verdict.path = path.direct_regions == 0 ? VIADUCT_PATH_COPY : VIADUCT_PATH_MIXED;
  if (!path.copy_permitted && verdict.path == VIADUCT_PATH_COPY)
    return {VIADUCT_PATH_NONE, VIADUCT_REASON_COPY_REFUSED, path.copy_error};
  return verdict;
}

// The caller holds send_lock.
Verdict judge(QueuePair& qp, viaduct_qp_path& path) {
  if (qp.type() == IBV_QPT_UD) return {VIADUCT_PATH_NONE, VIADUCT_REASON_DATAGRAM, 0};
  const uint32_t number = qp.attr.dest_qp_num;
  const uint32_t state = qp.shared->state.load();
  if (state == IBV_QPS_RESET || state == IBV_QPS_INIT || number == 0)
    return {VIADUCT_PATH_NONE, VIADUCT_REASON_NOT_CONNECTED, 0};
  if (qp.packets) return {VIADUCT_PATH_PACKETS, viaduct_path_reason(qp.packets->reason), 0};
  if (!qp.peer && qp.address.reachable) qp.peer = qp.host->reach(slot_of(number));
  if (!qp.peer) return {VIADUCT_PATH_NONE, VIADUCT_REASON_NO_PEER, 0};
  Site& site = *qp.peer;
  path.peer_pid = site.pid;
  const QpShared& theirs = site.segment->qp[index_of(number)];
  if (site.gone.load(std::memory_order_acquire) ||
      theirs.qp_num.load(std::memory_order_acquire) != number)
    return {VIADUCT_PATH_NONE, VIADUCT_REASON_PEER_GONE, 0};
  path.copy_error = copy_error(site.pid);
  path.copy_permitted = path.copy_error == 0;
  if (site.self) return {VIADUCT_PATH_LOOPBACK, VIADUCT_REASON_SAME_PROCESS, 0};
  return judge_regions(site, theirs.pd, path);
}

}  // namespace

int explain_qp(ibv_qp* verbs, viaduct_qp_path* path) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live || !qp->host->usable()) return EINVAL;
  if (path->size < offsetof(viaduct_qp_path, text) + sizeof path->text) return EINVAL;
  viaduct_qp_path full{};
  full.size = std::min<uint32_t>(path->size, sizeof full);
  {
    const Network::Guard network(qp->host->network());
    const std::lock_guard guard(qp->send_lock);
    const Verdict verdict = judge(*qp, full);
    full.path = verdict.path;
    full.reason = verdict.reason;
    full.error = verdict.error;
    full.text = sentence(verdict.reason);
    full.direct_operations = qp->operations[0];
    full.direct_bytes = qp->bytes[0];
    full.copied_operations = qp->operations[1];
    full.copied_bytes = qp->bytes[1];
    if (qp->packets) {
      full.packet_operations = qp->packets->operations.load(std::memory_order_relaxed);
      full.packet_bytes = qp->packets->bytes.load(std::memory_order_relaxed);
    }
  }
  memcpy(path, &full, full.size);
  return 0;
}

}  // namespace softhca
