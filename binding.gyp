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
        "native/addon/machine.cc",
        "native/addon/v8_function.cc",
        "native/addon/verbs/addresses.cc",
        "native/addon/verbs/array_buffer_backing.cc",
        "native/addon/verbs/completion.cc",
        "native/addon/verbs/descriptor_watch.cc",
        "native/addon/verbs/devices.cc",
        "native/addon/verbs/environment.cc",
        "native/addon/verbs/memory.cc",
        "native/addon/verbs/queue_pairs.cc",
        "native/addon/verbs/rings.cc",
        "native/addon/verbs/shared_receive_queues.cc",
        "native/aperture/doorbell.cc",
        "native/aperture/futex.cc",
        "native/aperture/mapping.cc",
        "native/aperture/process_copy.cc",
        "native/aperture/shared_memory.cc",
        "native/link/host_interface.cc",
        "native/link/socket_pair.cc",
        "native/machine/descriptors.cc",
        "native/machine/timestamp_counter.cc",
        "native/verbs/objects.cc",
        "native/verbs/poll.cc",
        "native/verbs/post.cc",
        "native/verbs/provider.cc",
        "native/verbs/rings.cc"
      ],
      "ldflags": ["-Wl,-z,now"],
      "libraries": ["-ldl"],
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
        "native/guest/aperture_device.cc",
        "native/guest/channel.cc",
        "native/guest/file_stream.cc",
        "native/guest/frame.cc",
        "native/guest/message.cc",
        "native/guest/modules.cc",
        "native/guest/mounts.cc",
        "native/guest/network.cc",
        "native/guest/process.cc",
        "native/guest/relay.cc"
      ],
      "ldflags": ["-static", "-s"]
    },
    {
      "target_name": "viaduct-hub",
      "type": "executable",
      "sources": ["native/link/hub.cc"],
      "ldflags": ["-static", "-s"]
    },
    {
      # Not of Node.js: preloaded into other programs. native/softhca/CMakeLists.txt builds the same.
      "target_name": "viaduct-softhca",
      "type": "shared_library",
      "product_name": "libviaduct-softhca",
      "product_dir": "<(PRODUCT_DIR)",
      "sources": [
        "native/softhca/address_space.cc",
        "native/softhca/agent.cc",
        "native/softhca/ah.cc",
        "native/softhca/channel.cc",
        "native/softhca/context.cc",
        "native/softhca/cq.cc",
        "native/softhca/cq_ex.cc",
        "native/softhca/device.cc",
        "native/softhca/dm.cc",
        "native/softhca/device_node.cc",
        "native/softhca/explain.cc",
        "native/softhca/exports.cc",
        "native/softhca/fault_guard.cc",
        "native/softhca/favour.cc",
        "native/softhca/heap.cc",
        "native/softhca/heavy_barrier.cc",
        "native/softhca/host.cc",
        "native/softhca/key_table.cc",
        "native/softhca/mcast.cc",
        "native/softhca/mr.cc",
        "native/softhca/mw.cc",
        "native/softhca/names.cc",
        "native/softhca/operations.cc",
        "native/softhca/path.cc",
        "native/softhca/path_copy.cc",
        "native/softhca/path_direct.cc",
        "native/softhca/pd.cc",
        "native/softhca/qp.cc",
        "native/softhca/qp_state.cc",
        "native/softhca/remap.cc",
        "native/softhca/rendezvous.cc",
        "native/softhca/requester.cc",
        "native/softhca/responder.cc",
        "native/softhca/shared_file.cc",
        "native/softhca/shared_lock.cc",
        "native/softhca/site.cc",
        "native/softhca/spin.cc",
        "native/softhca/srq.cc",
        "native/softhca/straight.cc",
        "native/softhca/wr_builder.cc"
      ],
      "cflags": ["-fvisibility=hidden", "-pthread"],
      "cflags_cc": ["-fvisibility-inlines-hidden"],
      "defines!": ["NDEBUG"],
      "ldflags": [
        "-Wl,-z,defs",
        "-Wl,-z,nodelete",
        "-Wl,--version-script=<(module_root_dir)/native/softhca/exports.map",
        "-pthread"
      ]
    }
  ]
}
