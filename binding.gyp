{
  "target_defaults": {
    "cflags": ["-Wall", "-Wextra", "-Werror", "-O2"],
    "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
    "include_dirs": ["native"]
  },
  "targets": [
    {
      "target_name": "viaduct",
      "sources": [
        "native/addon/module.cc",
        "native/addon/aperture.cc",
        "native/addon/link.cc",
        "native/aperture/doorbell.cc",
        "native/aperture/futex.cc",
        "native/aperture/mapping.cc",
        "native/aperture/process_copy.cc",
        "native/link/socket_pair.cc"
      ],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"]
    },
    {
      "target_name": "viaduct-guard",
      "type": "executable",
      "sources": [
        "native/guard/main.cc",
        "native/guard/options.cc",
        "native/guard/supervisor.cc",
        "native/guard/isolation.cc",
        "native/guard/descendants.cc",
        "native/guard/remove_tree.cc"
      ],
      "ldflags": ["-static", "-s"]
    },
    {
      "target_name": "viaduct-agent",
      "type": "executable",
      "sources": [
        "native/guest/main.cc",
        "native/guest/agent.cc",
        "native/guest/channel.cc",
        "native/guest/frame.cc",
        "native/guest/message.cc",
        "native/guest/mounts.cc",
        "native/guest/network.cc",
        "native/guest/process.cc"
      ],
      "ldflags": ["-static", "-s"]
    },
    {
      "target_name": "viaduct-hub",
      "type": "executable",
      "sources": ["native/link/hub.cc"],
      "ldflags": ["-static", "-s"]
    }
  ]
}
