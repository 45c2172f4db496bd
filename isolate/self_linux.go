package isolate

// selfExecutable is this very program, even if its file has been replaced.
func selfExecutable() (string, error) { return "/proc/self/exe", nil }
