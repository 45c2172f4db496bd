package isolate_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"clusterd/isolate"
)

// A program that launches containers calls MaybeInit first in main: it is
// re-executed as their shims. Here TestMain does.
func Example() {
	dir, err := os.MkdirTemp("", "isolate")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	sandbox := filepath.Join(dir, "sandbox")
	if err := os.Mkdir(sandbox, 0o750); err != nil {
		fmt.Println(err)
		return
	}
	// Plain: the example runs without root as well.
	runtime, err := isolate.Open(isolate.Config{StateDir: filepath.Join(dir, "state"), Plain: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	container, err := runtime.Launch(context.Background(), isolate.Spec{
		ID:   "example",
		Path: "/bin/sh",
		Args: []string{"sh", "-c", "echo $GREETING; exit 3"},
		Env:  []string{"GREETING=hello"},
		Dir:  sandbox,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-container.Done()
	output, err := os.ReadFile(filepath.Join(sandbox, "stdout"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("raw status %d, wrote %s", container.Exit().Status, output)
	if err := container.Forget(); err != nil {
		fmt.Println(err)
	}
	// Output: raw status 768, wrote hello
}
