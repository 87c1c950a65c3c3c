rockspec_format = "3.0"
package = "sockproc"
version = "dev-1"

-- `cd lua && luarocks make` builds this tree; `make rock` makes the rockspec of a release of this one.
source = {
   url = "git+file://..",
   dir = "sockproc/lua",
}

description = {
   summary = "Runs commands for programs that must not block or fork",
   license = "MIT",
}

dependencies = {
   "lua >= 5.1, < 5.5",
}

build = {
   type = "make",
   build_variables = {
      LUA = "$(LUA)",
   },
   install_variables = {
      LUA = "$(LUA)",
      LUADIR = "$(LUADIR)",
      LIBDIR = "$(LIBDIR)",
   },
}
