// Structures of verbs to and from JavaScript objects, by tables of their fields.
#pragma once

#include <napi.h>

#include <cstdint>
#include <type_traits>

#include "addon/verbs/environment.h"

namespace viaduct::addon {

template <typename Struct>
struct Field {
  const char* name;
  Napi::Value (*read)(Napi::Env, const Struct&);
  void (*write)(Napi::Value, Struct&);
  // The bit of an attribute mask that says that the field is given; 0 where there is no mask.
  uint32_t mask;
};

template <typename Member>
struct MemberOf;
template <typename Struct, typename Type>
struct MemberOf<Type Struct::*> {
  using Owner = Struct;
  using Value = Type;
};

// 64-bit fields are bigint, all others numbers.
template <auto Member>
constexpr auto field(const char* name, uint32_t mask = 0) {
  using Struct = typename MemberOf<decltype(Member)>::Owner;
  using Value = typename MemberOf<decltype(Member)>::Value;
  return Field<Struct>{
      name,
      [](Napi::Env env, const Struct& from) -> Napi::Value {
        if constexpr (sizeof(Value) == 8) {
          return Napi::BigInt::New(env, static_cast<uint64_t>(from.*Member));
        } else {
          return Napi::Number::New(env, static_cast<double>(from.*Member));
        }
      },
      [](Napi::Value value, Struct& to) { to.*Member = static_cast<Value>(uint64_of(value)); },
      mask};
}

template <typename Struct, size_t Count>
Napi::Object to_object(Napi::Env env, const Struct& from, const Field<Struct> (&fields)[Count]) {
  Napi::Object object = Napi::Object::New(env);
  for (const auto& each : fields) object.Set(each.name, each.read(env, from));
  return object;
}

// Fields that the object doesn't have stay as they are. Returns the mask of those it has.
template <typename Struct, size_t Count>
uint32_t from_object(Napi::Object object, Struct& to, const Field<Struct> (&fields)[Count]) {
  uint32_t mask = 0;
  for (const auto& each : fields) {
    const Napi::Value value = object.Get(each.name);
    if (!value.IsNumber() && !value.IsBigInt()) continue;
    each.write(value, to);
    mask |= each.mask;
  }
  return mask;
}

}  // namespace viaduct::addon
