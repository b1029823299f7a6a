// Ends all that descends from the calling process, where no process namespace does it.
#pragma once

namespace viaduct::guard {

// The caller must be a child subreaper, so that the orphans of those it kills become its children.
void kill_descendants();

}  // namespace viaduct::guard
