package isolate

import "os"

func selfExecutable() (string, error) { return os.Executable() }

// machineMemory is only used with cgroups.
func machineMemory() int64 { return 0 }
