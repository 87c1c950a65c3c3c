local cases = require("cases")
local sockproc = require("sockproc")
local t = require("harness")

local client = assert(sockproc.client({ server = t.server() }))
local all = cases.read("tests/conformance/cases.txt")

for _, case in ipairs(all) do
	t.test(case.name, function()
		local wrong = cases.compare(case, client:run(case.command, case.stdin))
		if wrong then
			error(wrong, 0)
		end
	end)
end

t.test("no case is missing", function()
	assert(#all >= 60, #all .. " cases")
	print("conformance: " .. #all .. " cases")
end)
