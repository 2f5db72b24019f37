-- The parts of the library are joined before they are checked: a local of one part is used in another.
std = "lua51"
read_globals = {"redis", "cjson", "cmsgpack"}
max_line_length = 120
