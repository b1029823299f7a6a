// Network interfaces of the guest, set up by ioctl: there are no tools in it.
#pragma once

#include <string>

#include "guest/message.h"

namespace viaduct::guest {

// 0, or the errno of the step that failed, whose name is put into `step`.
int configure_network(const NetworkRequest& request, std::string& step);

}  // namespace viaduct::guest
