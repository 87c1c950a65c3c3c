//! `require "sockproc_native"`: what the Lua package cannot do in Lua itself, namely the protocol,
//! a socket for interpreters without cosockets, and starting a server.

mod address;
mod args;
mod error;
mod file;
mod launch;
mod peer;
mod process;
mod session;
mod socket;

use mlua::{Function, IntoLuaMulti, Lua, Table};

use crate::args::Args;
use crate::error::{Failure, guard};

/// No method of these types takes `self` by mlua's own conversions, nor does any function take
/// typed arguments: their failures would reach Lua as mlua's userdata.
#[mlua::lua_module]
fn sockproc_native(lua: &Lua) -> mlua::Result<Table> {
    let exports = lua.create_table()?;
    for (name, function) in [
        export(lua, "session", session::new)?,
        export(lua, "parse_address", address::parse)?,
        export(lua, "tcp", socket::new)?,
        export(lua, "backlog_full", socket::backlog_full)?,
        export(lua, "sleep", socket::sleep)?,
        export(lua, "set_helper", socket::set_helper)?,
        export(lua, "user_id", peer::user_id)?,
        export(lua, "find_user", peer::find_user)?,
        export(lua, "listener", peer::listener)?,
        export(lua, "answers", peer::answers)?,
        export(lua, "exec", launch::exec)?,
        export(lua, "launch", launch::launch)?,
        export(lua, "start", launch::start)?,
        export(lua, "environment", launch::environment)?,
        export(lua, "file_len", file::len)?,
        export(lua, "open_process", process::open)?,
        #[cfg(feature = "test-panic")]
        export::<()>(lua, "panic", |_, _| panic!("asked to panic"))?,
    ] {
        exports.raw_set(name, function)?;
    }
    Ok(exports)
}

fn export<R: IntoLuaMulti + 'static>(
    lua: &Lua,
    name: &'static str,
    body: fn(&Lua, &mut Args) -> Result<R, Failure>,
) -> mlua::Result<(&'static str, Function)> {
    Ok((name, lua.create_function(guard(name, body))?))
}
