package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine says where a report comes from. What is not known is left out.
type machine struct {
	CPU         string `json:"cpu"`
	Cores       int    `json:"cores"`
	MemoryBytes int64  `json:"memory_bytes,omitempty"`
	Kernel      string `json:"kernel"`
	OS          string `json:"os"`
}

func (m machine) String() string {
	text := fmt.Sprintf("%s, %d cores", m.CPU, m.Cores)
	if m.MemoryBytes > 0 {
		text += fmt.Sprintf(", %.0f GB", float64(m.MemoryBytes)/1e9)
	}
	return text + fmt.Sprintf(", %s %s", m.OS, m.Kernel)
}

func thisMachine() machine {
	m := machine{CPU: "cpu of type " + runtime.GOARCH, Cores: runtime.NumCPU(), Kernel: "of unknown version", OS: runtime.GOOS}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := field(text, "model name"); model != "" {
			m.CPU = strings.Join(strings.Fields(model), " ")
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if kb, err := kilobytes(text, "MemTotal"); err == nil {
			m.MemoryBytes = kb << 10
		}
	}
	return m
}

// field returns the first value of a "name : value" line; empty if there is none.
func field(text []byte, name string) string {
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// kilobytes reads a "name: 123 kB" line.
func kilobytes(text []byte, name string) (int64, error) {
	value, ok := strings.CutSuffix(field(text, name), " kB")
	if !ok {
		return 0, fmt.Errorf("no line %q in kB", name)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("line %q: %w", name, err)
	}
	return n, nil
}

// loadAverage is nil where the system does not tell.
func loadAverage() []float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil
	}
	var load []float64
	for _, f := range strings.Fields(string(text)) {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil || len(load) == 3 {
			break
		}
		load = append(load, v)
	}
	return load
}

// version asks the binary what it is.
func version(ctx context.Context, binary string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", binary, err)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return strings.TrimPrefix(strings.TrimSpace(string(line)), "clusterd "), nil
}
