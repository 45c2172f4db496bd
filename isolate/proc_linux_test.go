package isolate

import "testing"

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4 5 6 7\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseStat(data)
		if err == nil && p.pid == 0 && len(data) == 0 {
			t.Error("a process of nothing")
		}
	})
}
