//! Keeps the module mapped after its Lua state has closed.

fn main() {
    // nginx with `lua_code_cache off` closes a state after each request, and dlclose would unmap
    // code that thread-local destructors still point to.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
