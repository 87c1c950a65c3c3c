//! Addresses, as the core reads them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use mlua::{IntoLuaMulti, Lua, MultiValue};
use sockproc_core::{Address, AddressKind};

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
