--- luajit openresty_canned.lua SOCKET: answers each request at once with the same bytes, so that
--- what is measured is the client.
local ffi = require("ffi")

ffi.cdef([[
struct sockaddr_un { unsigned short family; char path[108]; };
int socket(int, int, int);
int bind(int, const struct sockaddr_un *, unsigned);
int listen(int, int);
int accept(int, void *, void *);
long recv(int, void *, size_t, int);
long send(int, const void *, size_t, int);
int close(int);
]])

local AF_UNIX, SOCK_STREAM, MSG_NOSIGNAL = 1, 1, 0x4000
local REPLY = "status:0\r\n6\r\nhello\n0\r\n"

local address = ffi.new("struct sockaddr_un", AF_UNIX, arg[1])
local listener = ffi.C.socket(AF_UNIX, SOCK_STREAM, 0)
assert(ffi.C.bind(listener, address, ffi.sizeof(address)) == 0, "cannot bind")
assert(ffi.C.listen(listener, 4096) == 0, "cannot listen")

local buffer = ffi.new("char[65536]")
while true do
	local connection = ffi.C.accept(listener, nil, nil)
	ffi.C.recv(connection, buffer, 65536, 0)
	ffi.C.send(connection, REPLY, #REPLY, MSG_NOSIGNAL)
	ffi.C.close(connection)
end
