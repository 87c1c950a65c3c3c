//! Addresses and command lines, as the core reads and writes them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue};
use sockproc_core::{Address, AddressKind};
use sockproc_core::proto::classic::exec_line;
use sockproc_core::proto::{Argv, ArgvError};

use crate::args::Args;
use crate::error::Failure;

/// `parse_address(text)`: `"unix:/path"`, or a host and a port: what a cosocket's `connect` takes.
pub(crate) fn parse(lua: &Lua, args: &mut Args) -> Result<MultiValue, Failure> {
    let text = args.string()?;
    let address = Address::parse(OsStr::from_bytes(&text.as_bytes()))
        .map_err(|error| Failure::misuse(error.to_string()))?;
    let values = match address.kind() {
        AddressKind::Tcp(tcp) => (tcp.ip().to_string(), tcp.port()).into_lua_multi(lua),
        AddressKind::Unix(path) => {
            let name = [b"unix:", path.as_os_str().as_bytes()].concat();
            lua.create_string(name)?.into_lua_multi(lua)
        }
    };
    Ok(values?)
}

/// `quote(words)`: a sequence of words as a command line for the shell.
pub(crate) fn quote(lua: &Lua, args: &mut Args) -> Result<LuaString, Failure> {
    // A word may come from anywhere, so what it holds is the world's failure; an empty argv is not.
    let argv = Argv::new(args.words()?).map_err(|error| match error {
        ArgvError::Empty => Failure::misuse(error.to_string()),
        _ => Failure::new("protocol", error.to_string()),
    })?;
    let line = exec_line(&argv)?;
    Ok(lua.create_string(line)?)
}
