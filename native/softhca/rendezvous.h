// How processes of one user find each other: abstract Unix sockets, one a slot, gone with the
// process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "softhca/site.h"

namespace softhca {

struct SegmentFiles {
  int segment = -1;
  int keys = -1;
};

// Creates the two files of this process, sized and sealed. False with errno.
bool create_files(SegmentFiles* files);

// Claims a free slot by listening on its name. Returns the slot, or 0 with errno.
uint32_t claim_slot(int* listener);

// The server's half: checks who is there and hands out the files. `holder` is what the client has
// to sign locks with. False if it may not attach.
bool welcome(int connection, uint16_t holder, uint32_t slot, const SegmentFiles& files,
             int doorbell);

// The client's half. nullptr with errno: nobody there (ECONNREFUSED), not ours (EPERM), ...
std::shared_ptr<Site> attach(uint32_t slot);

// Slots in use by processes of this user, our own included.
std::vector<uint32_t> live_slots();

}  // namespace softhca
