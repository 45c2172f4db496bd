package mesos

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ErrTooLarge is wrapped by the errors of RecordReader.Next and ReadFrame when the announced length
// is over the limit. Nothing of the record has been read then.
var ErrTooLarge = errors.New("over the size limit")

// RecordError reports bytes that are not RecordIO. The stream cannot be read any further.
type RecordError struct {
	// Header is what was read of the length line.
	Header string
}

// Error shows the offending header.
func (e *RecordError) Error() string {
	return fmt.Sprintf("record length is not a decimal number: %q", e.Header)
}

// maxRecordHeader is the number of bytes in the longest length line, without its newline: the digits
// of the largest uint64.
const maxRecordHeader = 20

// AppendRecord appends the record in RecordIO form: its length in bytes as decimal digits, a newline,
// then the bytes (SCH-40). Events are never empty, so neither are the records of a stream.
func AppendRecord(dst, record []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(record)), 10)
	dst = append(dst, '\n')
	return append(dst, record...)
}

// RecordReader splits a RecordIO stream into its records, wherever the underlying reads end
// (SCH-41). It is not safe for use by several goroutines.
type RecordReader struct {
	r        *bufio.Reader
	maxBytes int
	err      error
}

// NewRecordReader returns a reader of records of up to maxBytes each. It may read ahead of the
// record it returns.
func NewRecordReader(r io.Reader, maxBytes int) *RecordReader {
	return &RecordReader{r: bufio.NewReader(r), maxBytes: maxBytes}
}

// Next returns the next record; the slice belongs to the caller. It returns io.EOF when the stream
// ends between two records, io.ErrUnexpectedEOF (wrapped) when it ends inside of one, a
// *RecordError for a malformed length, and an error that wraps ErrTooLarge for a record over the
// limit. Every error is final.
func (rr *RecordReader) Next() ([]byte, error) {
	if rr.err != nil {
		return nil, rr.err
	}
	record, err := rr.next()
	rr.err = err
	return record, err
}

func (rr *RecordReader) next() ([]byte, error) {
	length, err := rr.length()
	if err != nil {
		return nil, err
	}
	if length > uint64(max(rr.maxBytes, 0)) {
		return nil, fmt.Errorf("read record of %d bytes: %w of %d bytes", length, ErrTooLarge, rr.maxBytes)
	}
	record, err := readExactly(rr.r, int(length))
	if err != nil {
		return nil, fmt.Errorf("read record of %d bytes: %w", length, err)
	}
	return record, nil
}

// length reads the length line. Only a stream that ends before its first digit ends cleanly.
func (rr *RecordReader) length() (uint64, error) {
	var header [maxRecordHeader]byte
	n := 0
	for {
		c, err := rr.r.ReadByte()
		switch {
		case err == io.EOF && n == 0:
			return 0, io.EOF
		case err == io.EOF:
			return 0, fmt.Errorf("read record length: %w", io.ErrUnexpectedEOF)
		case err != nil:
			return 0, fmt.Errorf("read record length: %w", err)
		}
		if c == '\n' {
			break
		}
		if n == len(header) || c < '0' || c > '9' {
			return 0, &RecordError{Header: string(append(header[:n:n], c))}
		}
		header[n] = c
		n++
	}
	length, err := strconv.ParseUint(string(header[:n]), 10, 64)
	if err != nil {
		return 0, &RecordError{Header: string(header[:n])}
	}
	return length, nil
}

// readChunkBytes bounds the memory taken on the word of a peer that announces a length and then
// sends nothing.
const readChunkBytes = 256 << 10

// readExactly reads n bytes. It returns io.ErrUnexpectedEOF if there are fewer.
func readExactly(r io.Reader, n int) ([]byte, error) {
	if n <= readChunkBytes {
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, unexpectedEOF(err)
		}
		return b, nil
	}
	var b bytes.Buffer
	b.Grow(readChunkBytes)
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, unexpectedEOF(err)
	}
	return b.Bytes(), nil
}

func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
