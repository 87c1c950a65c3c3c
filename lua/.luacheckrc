std = "min+ngx_lua"
files["../tests/bench"].std = "max+ngx_lua"
