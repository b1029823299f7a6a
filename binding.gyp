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
        "native/aperture/doorbell.cc",
        "native/aperture/futex.cc",
        "native/aperture/mapping.cc",
        "native/aperture/process_copy.cc"
      ],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"]
    }
  ]
}
