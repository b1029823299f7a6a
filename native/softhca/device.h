// The one device: its name, identity, limits and port.
#pragma once

#include <infiniband/verbs.h>

#include "softhca/limits.h"

namespace softhca {

// The device's name among the kernel's, and that of its node in /dev/infiniband.
inline constexpr char node_name[] = "uverbs_softhca0";

ibv_device** device_list(int* count);
bool is_our_device(const ibv_device* device);

// Whether the port shows itself as one of RoCE version 2 (VIADUCT_LINK_LAYER=ethernet, or
// VIADUCT_PACKET_RINGS), for programs that are to run there: no LID, GIDs of that type, and no
// address without a GRH.
bool is_ethernet();

__be64 node_guid();
// The first entries of the GID table: they mean this host on any port.
ibv_gid own_gid(uint32_t index);

int query_device(ibv_device_attr* attr);
int query_device_ex(const ibv_query_device_ex_input* input, ibv_device_attr_ex* attr, size_t size);
int query_port(uint8_t port, ibv_port_attr* attr, size_t size);

}  // namespace softhca
