//! A blocking socket with the cosocket's method names, for interpreters that have no cosockets.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use mlua::{AnyUserData, Lua, LuaString, UserData, UserDataMethods};
use rustix::io::Errno;
use sockproc_core::connection::{BlockingSocket, Deadline};
use sockproc_core::{Address, Error, embedded};

use crate::args::Args;
use crate::error::{Failure, guard};

/// The most that one `receiveany` may ask for.
const MAX_RECEIVE: u64 = 1 << 20;

#[derive(Default)]
struct Socket {
    stream: Option<BlockingSocket>,
    timeouts: Timeouts,
    /// A `send` that a signal interrupted: the next one goes on with it.
    interrupted_send: Option<Sending>,
    /// The deadline of a `receiveany` that a signal interrupted: the next one goes on with it.
    interrupted_receive: Option<Deadline>,
    buf: Vec<u8>,
}

struct Sending {
    sent: usize,
    deadline: Deadline,
}

/// Without one, an operation waits for as long as it takes.
#[derive(Default)]
struct Timeouts {
    connect: Option<Duration>,
    send: Option<Duration>,
    read: Option<Duration>,
}

pub(crate) fn new(lua: &Lua, _: &mut Args) -> Result<AnyUserData, Failure> {
    Ok(lua.create_userdata(Socket::default())?)
}

/// `backlog_full()`: the kernel's text where a server's backlog is full, as a cosocket returns it.
pub(crate) fn backlog_full(_: &Lua, _: &mut Args) -> Result<String, Failure> {
    Ok(Failure::system("backlog", Errno::AGAIN).message)
}

/// Sleeps for some milliseconds.
pub(crate) fn sleep(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    std::thread::sleep(args.milliseconds()?.unwrap_or_default());
    Ok(true)
}

impl UserData for Socket {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_function("settimeouts", guard("settimeouts", settimeouts));
        methods.add_function("connect", guard("connect", connect));
        methods.add_function("connect_helper", guard("connect_helper", connect_helper));
        methods.add_function("send", guard("send", send));
        methods.add_function("receiveany", guard("receiveany", receiveany));
        methods.add_function("close", guard("close", close));
        methods.add_function("abort", guard("abort", abort));
    }
}

/// `socket:settimeouts(connect, send, read)`, in milliseconds.
fn settimeouts(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let object = args.object::<Socket>()?;
    let timeouts = Timeouts {
        connect: args.milliseconds()?,
        send: args.milliseconds()?,
        read: args.milliseconds()?,
    };
    object.borrow()?.timeouts = timeouts;
    Ok(true)
}

/// `socket:connect("unix:/path")` or `socket:connect(host, port)`. A full backlog is a failure of kind
/// "backlog": the caller tries again, and acts on signals between.
fn connect(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let object = args.object::<Socket>()?;
    let mut name = args.string()?.as_bytes().to_vec();
    if !name.starts_with(b"unix:") {
        name.extend(format!(":{}", args.integer()?).into_bytes());
    }
    let address = Address::parse(&OsString::from_vec(name))
        .map_err(|error| Failure::new("connect", error.to_string()))?;
    let mut socket = object.borrow()?;
    let deadline = Deadline::after(socket.timeouts.connect);
    let stream = BlockingSocket::connect(address, deadline, at_once());
    socket.begin(stream)
}

/// `socket:connect_helper()`: to the private helper of this process. Fails as `connect` does.
fn connect_helper(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let object = args.object::<Socket>()?;
    object
        .borrow()?
        .begin(BlockingSocket::connect_to_helper(at_once()))
}

/// `set_helper(path)`: the binary that becomes the private helper, where `$SOCKPROC_BIN` names none.
pub(crate) fn set_helper(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let path = OsString::from_vec(args.string()?.as_bytes().to_vec());
    embedded::set_program([path]);
    Ok(true)
}

/// `socket:send(data)`, where data is a string or a sequence of strings; gives the bytes sent. A signal
/// ends the wait with the error "interrupted"; call it again with the same data to go on.
fn send(_: &Lua, args: &mut Args) -> Result<u64, Failure> {
    let object = args.object::<Socket>()?;
    let parts = args.strings()?;
    let mut socket = object.borrow()?;
    let mut sending = socket.interrupted_send.take().unwrap_or(Sending {
        sent: 0,
        deadline: Deadline::after(socket.timeouts.send),
    });
    let mut begin = 0;
    for part in parts {
        let part = part.as_bytes();
        let end = begin + part.len();
        while sending.sent < end {
            let rest = &part[sending.sent - begin..];
            match socket.stream()?.send(rest, sending.deadline) {
                Ok(len) => sending.sent += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    socket.interrupted_send = Some(sending);
                    return Err(interrupted());
                }
                Err(error) => return Err(lost(&error)),
            }
        }
        begin = end;
    }
    Ok(sending.sent as u64)
}

/// `socket:receiveany(max)`: at least one byte. A signal ends the wait with the error
/// "interrupted", so that the interpreter can act on Ctrl-C; call it again to go on.
fn receiveany(lua: &Lua, args: &mut Args) -> Result<LuaString, Failure> {
    let object = args.object::<Socket>()?;
    let max = args.integer()?;
    if !(1..=MAX_RECEIVE).contains(&max) {
        return Err(Failure::misuse(format!(
            "receiveany takes 1 to {MAX_RECEIVE} bytes, not {max}"
        )));
    }
    let mut socket = object.borrow()?;
    let socket = &mut *socket;
    let read_timeout = socket.timeouts.read;
    let deadline = socket
        .interrupted_receive
        .take()
        .unwrap_or_else(|| Deadline::after(read_timeout));
    socket.buf.resize(max as usize, 0);
    let stream = socket.stream.as_mut().ok_or_else(closed)?;
    match stream.receive(&mut socket.buf, deadline) {
        Ok(0) => Err(ended(stream, closed())),
        Ok(len) => Ok(lua.create_string(&socket.buf[..len])?),
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            socket.interrupted_receive = Some(deadline);
            Err(interrupted())
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => Err(lost(&error)),
        Err(error) => Err(ended(stream, lost(&error))),
    }
}

fn close(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    args.object::<Socket>()?.borrow()?.stream = None;
    Ok(true)
}

/// Gives the exchange up: the server is to see that no one waits for the answer any more.
fn abort(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    if let Some(stream) = args.object::<Socket>()?.borrow()?.stream.take() {
        stream.abort();
    }
    Ok(true)
}

impl Socket {
    fn begin(&mut self, stream: Result<BlockingSocket, Error>) -> Result<bool, Failure> {
        self.stream = Some(stream.map_err(|error| Failure::connect(&error))?);
        // What was interrupted was of the connection before.
        self.interrupted_send = None;
        self.interrupted_receive = None;
        Ok(true)
    }

    fn stream(&self) -> Result<&BlockingSocket, Failure> {
        self.stream.as_ref().ok_or_else(closed)
    }
}

/// What would have to wait is left to the caller.
fn at_once() -> Deadline {
    Deadline::after(Some(Duration::ZERO))
}

fn interrupted() -> Failure {
    Failure::new("interrupted", "interrupted")
}

fn closed() -> Failure {
    Failure::new("closed", "closed")
}

/// `failure` of a connection that is over, or why a private helper could not serve.
fn ended(stream: &BlockingSocket, failure: Failure) -> Failure {
    let reason = stream.helper_failure();
    reason.map_or(failure, |error| Failure::connect(&error))
}

fn lost(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::TimedOut => Failure::new("timeout", "timeout"),
        _ => Failure::io("closed", error),
    }
}
