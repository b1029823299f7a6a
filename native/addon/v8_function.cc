#include "addon/v8_function.h"

namespace viaduct::addon {

namespace {

template <typename Object>
void put_data(Object* holder, void* data) {
  if constexpr (requires {
                  holder->SetAlignedPointerInInternalField(data_field, data, data_tag);
                }) {
    holder->SetAlignedPointerInInternalField(data_field, data, data_tag);
  } else {
    holder->SetAlignedPointerInInternalField(data_field, data);
  }
}

}  // namespace

bool define_v8_function(napi_value exports, const char* name, v8::FunctionCallback function,
                        void* data) {
  v8::Isolate* isolate = v8::Isolate::GetCurrent();
  const v8::Local<v8::Context> context = isolate->GetCurrentContext();
  const auto holders = v8::ObjectTemplate::New(isolate);
  holders->SetInternalFieldCount(1);
  v8::Local<v8::Object> holder;
  if (!holders->NewInstance(context).ToLocal(&holder)) return false;
  put_data(*holder, data);
  const auto functions = v8::FunctionTemplate::New(
      isolate, function, holder, v8::Local<v8::Signature>(), 0, v8::ConstructorBehavior::kThrow);
  v8::Local<v8::Function> made;
  v8::Local<v8::String> key;
  return functions->GetFunction(context).ToLocal(&made) &&
         v8::String::NewFromUtf8(isolate, name).ToLocal(&key) &&
         local_from(exports).As<v8::Object>()->Set(context, key, made).FromMaybe(false);
}

}  // namespace viaduct::addon
