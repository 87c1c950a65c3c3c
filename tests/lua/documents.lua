--- The example and the README's Lua blocks work as they are: each block is run with a server in
--- $SOCKPROC_SOCKET, and prints what its comments `--> ...` say.
local t = require("harness")

local server = t.server()
local readme = assert(t.read(os.getenv("SOCKPROC_README") or "README.md"))

local function run(path, arguments)
	local command = "SOCKPROC_SOCKET=" .. server .. " " .. t.interpreter .. " " .. path .. " " .. arguments
	return t.shell("{ " .. command .. "; } 2>&1")
end

t.test("the example runs a command and passes on all that came of it", function()
	local said = run("lua/examples/run.lua", "'tr a-z A-Z; echo err >&2; exit 3' < LICENSE; echo code $?")
	t.contains(said, "MIT LICENSE")
	t.contains(said, "err\n")
	t.contains(said, "code 3")
	t.contains(run("lua/examples/run.lua", "'kill -9 $$' </dev/null; echo code $?"), "code 137")
end)

t.test("every Lua block of the README prints what it says", function()
	local count = 0
	for block in readme:gmatch("\n```lua\n(.-)\n```") do
		count = count + 1
		local path, expected = t.path("block.lua"), {}
		-- Another copy of this test may run.
		block = block:gsub("/tmp/", t.dir .. "/")
		t.write(path, block)
		for line in block:gmatch("%-%-> ([^\n]*)") do
			expected[#expected + 1] = line
		end
		t.equal(run(path, "</dev/null"), table.concat(expected, "\n"), block)
	end
	print("Lua blocks: " .. count)
end)
