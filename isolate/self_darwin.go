package isolate

import "os"

func selfExecutable() (string, error) { return os.Executable() }
