package mesos

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// SCH-40
func TestAppendRecord(t *testing.T) {
	got := AppendRecord(AppendRecord(nil, []byte(`{"type":"HEARTBEAT"}`)), []byte("0123456789"))
	if want := "20\n{\"type\":\"HEARTBEAT\"}10\n0123456789"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// SCH-40, SCH-41
func TestRecordReader(t *testing.T) {
	big := strings.Repeat("b", 3*readChunkBytes)
	for _, test := range []struct {
		name   string
		stream string
		max    int
		want   []string
		err    error // nil: a *RecordError
	}{
		{"empty stream", "", 10, nil, io.EOF},
		{"two records", "3\nabc2\nde", 10, []string{"abc", "de"}, io.EOF},
		{"empty record", "0\n1\na", 10, []string{"", "a"}, io.EOF},
		{"record with newlines and digits", "4\n1\n\n2", 10, []string{"1\n\n2"}, io.EOF},
		{"leading zeros", "00000000000000000003\nabc", 10, []string{"abc"}, io.EOF},
		{"large record", "786432\n" + big, len(big), []string{big}, io.EOF},
		{"ends in the length", "3\nabc1", 10, []string{"abc"}, io.ErrUnexpectedEOF},
		{"ends after the length", "3\n", 10, nil, io.ErrUnexpectedEOF},
		{"ends in the record", "3\nab", 10, nil, io.ErrUnexpectedEOF},
		{"ends in a large record", "786432\nab", len(big), nil, io.ErrUnexpectedEOF},
		{"at the limit", "3\nabc", 3, []string{"abc"}, io.EOF},
		{"over the limit", "1\na4\nabcd", 3, []string{"a"}, ErrTooLarge},
		{"far over the limit", "18446744073709551615\n", 1 << 30, nil, ErrTooLarge},
		{"nothing allowed", "1\na", -1, nil, ErrTooLarge},
		{"no length", "\nabc", 10, nil, nil},
		{"not a number", "1a\nabc", 10, nil, nil},
		{"negative", "-1\nabc", 10, nil, nil},
		{"blank", "3 \nabc", 10, nil, nil},
		{"JSON without framing", `{"type":"HEARTBEAT"}`, 10, nil, nil},
		{"more than 64 bits", "18446744073709551616\n", 10, nil, nil},
		{"endless length", strings.Repeat("1", 100), 10, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			records, err := readRecords(strings.NewReader(test.stream), test.max)
			if !slices.Equal(records, test.want) {
				t.Errorf("got %q, want %q", records, test.want)
			}
			var malformed *RecordError
			if test.err == nil && !errors.As(err, &malformed) || test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
		})
	}
}

// readRecords reads all records and the final error, which must come again.
func readRecords(r io.Reader, maxBytes int) ([]string, error) {
	reader := NewRecordReader(r, maxBytes)
	var records []string
	for {
		record, err := reader.Next()
		if err != nil {
			if _, again := reader.Next(); again != err {
				return records, errors.New("the error is not final")
			}
			return records, err
		}
		records = append(records, string(record))
	}
}

func TestRecordReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	for _, read := range []string{"", "1", "5\nab"} {
		r := io.MultiReader(strings.NewReader(read), iotest.ErrReader(broken))
		if _, err := readRecords(r, 10); !errors.Is(err, broken) {
			t.Errorf("after %q: got %v", read, err)
		}
	}
	if text := (&RecordError{Header: "1a"}).Error(); text != `record length is not a decimal number: "1a"` {
		t.Errorf("got %s", text)
	}
}

// FuzzRecordReader checks that records do not depend on how the bytes arrive (SCH-41), respect the
// limit, and are those of the stream.
func FuzzRecordReader(f *testing.F) {
	f.Add([]byte("20\n{\"type\":\"HEARTBEAT\"}3\nabc"))
	f.Add([]byte("0\n00\n5\nab"))
	f.Add([]byte("99999999999999999999\nab"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		const maxBytes = 64
		whole, err := readRecords(bytes.NewReader(stream), maxBytes)
		split, splitErr := readRecords(iotest.OneByteReader(bytes.NewReader(stream)), maxBytes)
		if !slices.Equal(whole, split) || err.Error() != splitErr.Error() {
			t.Fatalf("got %q, %v at once and %q, %v byte by byte", whole, err, split, splitErr)
		}
		var again []byte
		for _, record := range whole {
			if len(record) > maxBytes {
				t.Fatalf("record of %d bytes", len(record))
			}
			again = AppendRecord(again, []byte(record))
		}
		// Lengths may be written with leading zeros, so only the records themselves must agree.
		back, err := readRecords(bytes.NewReader(again), maxBytes)
		if !slices.Equal(whole, back) || err != io.EOF {
			t.Fatalf("got %q, %v, want %q", back, err, whole)
		}
	})
}
