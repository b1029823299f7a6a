// The one device: its name, identity, limits and port.
#include "softhca/device.h"

#include <arpa/inet.h>
#include <endian.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "softhca/gid_table.h"
#include "softhca/network_options.h"

namespace softhca {
namespace {

// Vendor providers look some bytes past the end of an ibv_device: let them find zeros.
struct Device {
  ibv_device verbs;
  uint8_t beyond[512];
};

Device* the_device() {
  static Device* device = [] {
    auto* fresh = static_cast<Device*>(calloc(1, sizeof(Device)));
    if (!fresh) return fresh;
    fresh->verbs.node_type = IBV_NODE_CA;
    fresh->verbs.transport_type = IBV_TRANSPORT_IB;
    strcpy(fresh->verbs.name, "softhca0");
    strcpy(fresh->verbs.dev_name, node_name);
    strcpy(fresh->verbs.dev_path, "/sys/class/infiniband_verbs/uverbs_softhca0");
    strcpy(fresh->verbs.ibdev_path, "/sys/class/infiniband/softhca0");
    return fresh;
  }();
  return device;
}

// The same for all processes of a host, different between hosts, new with each boot.
uint64_t host_identity() {
  static const uint64_t identity = [] {
    char text[64] = {};
    FILE* file = fopen("/proc/sys/kernel/random/boot_id", "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a
    for (size_t i = 0; i < n; ++i) hash = (hash ^ uint8_t(text[i])) * 0x100000001b3ull;
    // EUI-64, locally administered, unicast
    return (hash & 0x00ffffffffffffffull) | 0x0200000000000000ull;
  }();
  return identity;
}

}  // namespace

ibv_device** device_list(int* count) {
  auto** list = static_cast<ibv_device**>(calloc(2, sizeof(ibv_device*)));
  Device* device = the_device();
  if (!list || !device) {
    free(list);
    errno = ENOMEM;
    return nullptr;
  }
  list[0] = &device->verbs;
  if (count) *count = 1;
  return list;
}

bool is_our_device(const ibv_device* device) { return device == &the_device()->verbs; }

bool is_ethernet() {
  static const bool ethernet = [] {
    const char* value = getenv("VIADUCT_LINK_LAYER");
    // Packets through rings are addressed as those of RoCE.
    return (value && strcmp(value, "ethernet") == 0) || !network_options().rings.file.empty();
  }();
  return ethernet;
}

__be64 node_guid() { return htobe64(host_identity()); }

ibv_gid own_gid(uint32_t index) {
  ibv_gid gid{};
  // The default GID, and one with a unique local prefix (RFC 4193) to tell indices apart.
  gid.global.subnet_prefix = htobe64(index == 0 ? 0xfe80000000000000ull : 0xfd56494144554354ull);
  gid.global.interface_id = node_guid();
  return gid;
}

int query_device(ibv_device_attr* attr) {
  *attr = {};
  strcpy(attr->fw_ver, "1.0.0");
  attr->node_guid = node_guid();
  attr->sys_image_guid = node_guid();
  attr->max_mr_size = UINT64_MAX;
  attr->page_size_cap = 0xfffff000;
  attr->vendor_id = 0xffffff;  // of nobody, as kernel Soft-RoCE has it
  attr->vendor_part_id = 0;
  attr->hw_ver = 1;
  attr->max_qp = max_qp;
  attr->max_qp_wr = max_wr;
  attr->device_cap_flags = IBV_DEVICE_CURR_QP_STATE_MOD | IBV_DEVICE_RC_RNR_NAK_GEN |
                           IBV_DEVICE_SYS_IMAGE_GUID | IBV_DEVICE_PORT_ACTIVE_EVENT |
                           IBV_DEVICE_MEM_WINDOW | IBV_DEVICE_MEM_WINDOW_TYPE_2B |
                           IBV_DEVICE_MEM_MGT_EXTENSIONS | IBV_DEVICE_XRC | IBV_DEVICE_SRQ_RESIZE;
  attr->max_sge = max_sge;
  attr->max_sge_rd = max_sge;
  attr->max_cq = max_cq;
  attr->max_cqe = max_cqe;
  attr->max_mr = max_mr;
  attr->max_pd = 1 << 20;
  attr->max_qp_rd_atom = max_rd_atomic;
  attr->max_res_rd_atom = max_rd_atomic * 64;
  attr->max_qp_init_rd_atom = max_rd_atomic;
  attr->atomic_cap = IBV_ATOMIC_HCA;
  attr->max_mw = max_mr;
  attr->max_mcast_grp = max_mcast;
  attr->max_mcast_qp_attach = max_mcast;
  attr->max_total_mcast_qp_attach = max_mcast;
  attr->max_ah = 1 << 20;
  attr->max_srq = max_srq;
  attr->max_srq_wr = max_wr;
  attr->max_srq_sge = max_sge;
  attr->max_pkeys = 1;
  attr->local_ca_ack_delay = 0;
  attr->phys_port_cnt = 1;
  return 0;
}

int query_device_ex(const ibv_query_device_ex_input* input, ibv_device_attr_ex* attr, size_t size) {
  if ((input && input->comp_mask) || size < sizeof(ibv_device_attr)) return EINVAL;
  ibv_device_attr_ex full{};
  query_device(&full.orig_attr);
  full.completion_timestamp_mask = UINT64_MAX;
  full.hca_core_clock = 1000000;                 // kHz: completion times are in nanoseconds
  constexpr uint64_t atomic_write = 1ull << 40;  // IB_UVERBS_DEVICE_ATOMIC_WRITE
  full.device_cap_flags_ex = full.orig_attr.device_cap_flags | atomic_write;
  full.phys_port_cnt_ex = 1;
  // Memory is never pinned: each access goes by the page tables of the moment.
  constexpr uint32_t datagram =
      IBV_ODP_SUPPORT_SEND | IBV_ODP_SUPPORT_RECV | IBV_ODP_SUPPORT_SRQ_RECV;
  constexpr uint32_t reliable =
      datagram | IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ | IBV_ODP_SUPPORT_ATOMIC;
  full.odp_caps.general_caps = IBV_ODP_SUPPORT | IBV_ODP_SUPPORT_IMPLICIT;
  full.odp_caps.per_transport_caps.rc_odp_caps = reliable;
  full.odp_caps.per_transport_caps.uc_odp_caps = datagram | IBV_ODP_SUPPORT_WRITE;
  full.odp_caps.per_transport_caps.ud_odp_caps = datagram;
  full.xrc_odp_caps = reliable;
  full.max_dm_size = max_dm;
  memset(attr, 0, size);
  memcpy(attr, &full, std::min(size, sizeof full));
  return 0;
}

int query_port(uint8_t port, ibv_port_attr* attr, size_t size) {
  if (port != 1) return EINVAL;
  ibv_port_attr full{};
  full.state = IBV_PORT_ACTIVE;
  full.max_mtu = IBV_MTU_4096;
  full.active_mtu = IBV_MTU_4096;
  full.gid_tbl_len = gid_table_length;
  full.port_cap_flags = IBV_PORT_CM_SUP;
  full.max_msg_sz = uint32_t(max_message);
  full.pkey_tbl_len = 1;
  full.lid = port_lid;
  full.sm_lid = port_lid;
  full.max_vl_num = 1;
  full.active_width = 2;   // 4X
  full.active_speed = 32;  // EDR
  full.phys_state = 5;     // LinkUp
  full.link_layer = IBV_LINK_LAYER_INFINIBAND;
  if (is_ethernet()) {
    full.lid = full.sm_lid = 0;
    full.flags = IBV_QPF_GRH_REQUIRED;
    full.link_layer = IBV_LINK_LAYER_ETHERNET;
    refresh_gids();
    full.active_mtu = mtu_code(port_mtu_bytes());
  }
  memset(attr, 0, size);
  memcpy(attr, &full, std::min(size, sizeof full));
  return 0;
}

}  // namespace softhca
