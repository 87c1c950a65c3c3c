//! The client's side of one exchange: the core's session, with its names.

use bytes::Bytes;
use mlua::{
    AnyUserData, IntoLua, IntoLuaMulti, Lua, LuaString, MultiValue, UserData, UserDataMethods,
};
use sockproc_core::proto::classic::ClientSession;
use sockproc_core::proto::{Argv, ArgvError, ClientEvent, Request, Stream, WaitStatus};

use crate::args::{Args, LineOrWords};
use crate::error::{Failure, guard};

struct Session(ClientSession);

pub(crate) fn new(lua: &Lua, _: &mut Args) -> Result<AnyUserData, Failure> {
    Ok(lua.create_userdata(Session(ClientSession::new()))?)
}

impl UserData for Session {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_function("send_run", guard("send_run", send_run));
        methods.add_function("send_stdin", guard("send_stdin", send_stdin));
        methods.add_function("receive_data", guard("receive_data", receive_data));
        methods.add_function("receive_eof", guard("receive_eof", receive_eof));
        methods.add_function("next_event", guard("next_event", next_event));
    }
}

/// `session:send_run(command, stdin_len)`: a line for the shell, or a sequence of words.
fn send_run(lua: &Lua, args: &mut Args) -> Result<LuaString, Failure> {
    let session = args.object::<Session>()?;
    let request = match args.line_or_words()? {
        LineOrWords::Line(line) => Request::line(line),
        LineOrWords::Words(words) => Request::argv(argv(words)?),
    };
    let request = request.with_stdin(args.integer()?);
    let head = session.borrow()?.0.send_run(&request)?;
    Ok(lua.create_string(head)?)
}

/// A word may come from anywhere, so what it holds is the world's failure; an empty argv is not.
fn argv(words: Vec<Vec<u8>>) -> Result<Argv, Failure> {
    Argv::new(words).map_err(|error| match error {
        ArgvError::Empty => Failure::misuse(error.to_string()),
        _ => Failure::new("bad_request", error.to_string()),
    })
}

fn send_stdin(lua: &Lua, args: &mut Args) -> Result<LuaString, Failure> {
    let session = args.object::<Session>()?;
    let data = Bytes::copy_from_slice(&args.string()?.as_bytes());
    let wire = session.borrow()?.0.send_stdin(data)?;
    Ok(lua.create_string(wire)?)
}

fn receive_data(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let session = args.object::<Session>()?;
    session.borrow()?.0.receive_data(&args.string()?.as_bytes());
    Ok(true)
}

fn receive_eof(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    args.object::<Session>()?.borrow()?.0.receive_eof();
    Ok(true)
}

/// `"announced", stream, len`, `"data", stream, bytes` or `"exited", status, code, signal`; false
/// when more bytes are needed.
fn next_event(lua: &Lua, args: &mut Args) -> Result<MultiValue, Failure> {
    let session = args.object::<Session>()?;
    let event = session.borrow()?.0.next_event()?;
    let values = match event {
        None => false.into_lua_multi(lua),
        Some(ClientEvent::Announced { stream, len }) => {
            // Lua has no unsigned numbers; no stream has 2^63 bytes.
            let len = i64::try_from(len).unwrap_or(i64::MAX);
            ("announced", name(stream), len.into_lua(lua)?).into_lua_multi(lua)
        }
        Some(ClientEvent::Data { stream, data }) => {
            ("data", name(stream), lua.create_string(data)?).into_lua_multi(lua)
        }
        Some(ClientEvent::Exited(exit)) => {
            let (status, raw) = (exit.status, exit.status.wait_status().map(WaitStatus::raw));
            ("exited", raw, status.code(), status.signal()).into_lua_multi(lua)
        }
        Some(other) => return Err(Failure::new("protocol", format!("unknown event {other:?}"))),
    };
    Ok(values?)
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}
