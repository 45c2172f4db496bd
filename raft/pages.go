package raft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// The pages of a bbolt file are checked by us before bbolt opens it, because bbolt trusts them: a
// damaged page makes it crash, or follow a wrong pointer, and of two meta pages it silently takes
// the older when the newer is damaged, which would take back the newest acknowledged write.
// What a value holds is checked by its own checksum later. Layout: see bbolt's internal/common, file
// format version 2; numbers are in the byte order of the machine.
const (
	pageHeaderBytes = 16
	elementBytes    = 16
	bucketBytes     = 16
	metaBytes       = 64

	boltMagic   = 0xED0CDAED
	boltVersion = 2

	branchPage = 0x01
	leafPage   = 0x02
	metaPage   = 0x04

	bucketElement = 0x01

	maxPageBytes   = 1 << 16
	maxBucketDepth = 4
)

// boltMeta is what a meta page says.
type boltMeta struct {
	pageBytes uint64
	root      uint64
	pages     uint64 // all pages are below it
	txid      uint64
}

// pageCheck walks the pages of one file.
type pageCheck struct {
	in   io.ReaderAt
	meta boltMeta
	seen map[uint64]bool
}

// checkPages follows every pointer of a bbolt file and checks that it leads to a page that is what
// it should be, once, with its keys in order. The error wraps [ErrCorrupt], or is that of in.
func checkPages(in io.ReaderAt, size int64) error {
	meta, err := readMeta(in, 0, 0)
	if err != nil {
		return err
	}
	other, err := readMeta(in, 1, int64(meta.pageBytes))
	if err != nil {
		return err
	}
	if other.pageBytes != meta.pageBytes {
		return fmt.Errorf("%w: meta pages differ in the size of a page", ErrCorrupt)
	}
	if other.txid > meta.txid {
		meta = other
	}
	if meta.pages > uint64(size)/meta.pageBytes {
		return fmt.Errorf("%w: cut off: %d pages of %d bytes do not fit into %d bytes", ErrCorrupt, meta.pages, meta.pageBytes, size)
	}
	c := &pageCheck{in: in, meta: meta, seen: make(map[uint64]bool)}
	return c.tree(meta.root, nil, nil, 0)
}

// readMeta reads and checks one of the two meta pages.
func readMeta(in io.ReaderAt, id uint64, offset int64) (boltMeta, error) {
	buf := make([]byte, pageHeaderBytes+metaBytes)
	if _, err := in.ReadAt(buf, offset); err != nil {
		if err == io.EOF {
			return boltMeta{}, fmt.Errorf("%w: it ends in meta page %d", ErrCorrupt, id)
		}
		return boltMeta{}, err
	}
	order := binary.NativeEndian
	if order.Uint64(buf) != id || order.Uint16(buf[8:]) != metaPage {
		return boltMeta{}, fmt.Errorf("%w: meta page %d has a wrong header", ErrCorrupt, id)
	}
	m := buf[pageHeaderBytes:]
	sum := fnv.New64a()
	sum.Write(m[:metaBytes-8]) // a hash never fails
	if order.Uint32(m) != boltMagic || order.Uint32(m[4:]) != boltVersion || order.Uint64(m[metaBytes-8:]) != sum.Sum64() {
		return boltMeta{}, fmt.Errorf("%w: meta page %d does not match its checksum", ErrCorrupt, id)
	}
	meta := boltMeta{
		pageBytes: uint64(order.Uint32(m[8:])),
		root:      order.Uint64(m[16:]),
		pages:     order.Uint64(m[40:]),
		txid:      order.Uint64(m[48:]),
	}
	if n := meta.pageBytes; n < 512 || n > maxPageBytes || n&(n-1) != 0 {
		return boltMeta{}, fmt.Errorf("%w: pages of %d bytes", ErrCorrupt, n)
	}
	return meta, nil
}

// tree checks the page id and all below it. Its keys are at least low and, if high is not nil,
// below high.
func (c *pageCheck) tree(id uint64, low, high []byte, buckets int) error {
	page, err := c.read(id)
	if err != nil {
		return err
	}
	count := int(binary.NativeEndian.Uint16(page[10:]))
	switch flags := binary.NativeEndian.Uint16(page[8:]); flags {
	case branchPage:
		return c.branch(id, page, count, low, high, buckets)
	case leafPage:
		return c.leaf(id, page, count, low, high, buckets)
	default:
		return fmt.Errorf("%w: page %d has type %#x", ErrCorrupt, id, flags)
	}
}

// read returns a page with its overflow, after checking that it belongs where it stands.
func (c *pageCheck) read(id uint64) ([]byte, error) {
	if id < 2 || id >= c.meta.pages {
		return nil, fmt.Errorf("%w: a pointer leads to page %d of %d", ErrCorrupt, id, c.meta.pages)
	}
	header := make([]byte, pageHeaderBytes)
	if _, err := c.in.ReadAt(header, int64(id*c.meta.pageBytes)); err != nil {
		return nil, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(header[12:]))
	if got := binary.NativeEndian.Uint64(header); got != id || overflow >= c.meta.pages-id {
		return nil, fmt.Errorf("%w: page %d calls itself %d, with %d more", ErrCorrupt, id, got, overflow)
	}
	for i := id; i <= id+overflow; i++ {
		if c.seen[i] {
			return nil, fmt.Errorf("%w: page %d is used twice", ErrCorrupt, i)
		}
		c.seen[i] = true
	}
	page := make([]byte, (overflow+1)*c.meta.pageBytes)
	if _, err := c.in.ReadAt(page, int64(id*c.meta.pageBytes)); err != nil {
		return nil, err
	}
	return page, nil
}

func (c *pageCheck) branch(id uint64, page []byte, count int, low, high []byte, buckets int) error {
	if count == 0 {
		return fmt.Errorf("%w: page %d is an empty branch", ErrCorrupt, id)
	}
	keys := make([][]byte, count+1)
	keys[count] = high
	for i := range count {
		at := pageHeaderBytes + i*elementBytes
		if at+elementBytes > len(page) {
			return fmt.Errorf("%w: page %d has %d elements", ErrCorrupt, id, count)
		}
		e := page[at:]
		key, err := cut(page, at, binary.NativeEndian.Uint32(e), binary.NativeEndian.Uint32(e[4:]))
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		keys[i] = key
	}
	for i := range count {
		if i > 0 {
			low = keys[i]
		}
		if bytes.Compare(keys[i], low) < 0 || keys[i+1] != nil && bytes.Compare(keys[i], keys[i+1]) >= 0 {
			return fmt.Errorf("%w: page %d has its keys out of order", ErrCorrupt, id)
		}
		child := binary.NativeEndian.Uint64(page[pageHeaderBytes+i*elementBytes+8:])
		if err := c.tree(child, keys[i], keys[i+1], buckets); err != nil {
			return err
		}
	}
	return nil
}

func (c *pageCheck) leaf(id uint64, page []byte, count int, low, high []byte, buckets int) error {
	var last []byte
	for i := range count {
		at := pageHeaderBytes + i*elementBytes
		if at+elementBytes > len(page) {
			return fmt.Errorf("%w: page %d has %d elements", ErrCorrupt, id, count)
		}
		e := page[at:]
		pos, keyBytes := binary.NativeEndian.Uint32(e[4:]), binary.NativeEndian.Uint32(e[8:])
		key, err := cut(page, at, pos, keyBytes)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		value, err := cut(page, at, pos+keyBytes, binary.NativeEndian.Uint32(e[12:]))
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 || i > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("%w: page %d has its keys out of order", ErrCorrupt, id)
		}
		last = key
		switch flags := binary.NativeEndian.Uint32(e); flags {
		case 0:
		case bucketElement:
			if err := c.bucket(id, value, buckets+1); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: page %d has an element of type %#x", ErrCorrupt, id, flags)
		}
	}
	return nil
}

// bucket checks a bucket within a bucket: a pointer to its root page, or a small page in place.
func (c *pageCheck) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketBytes || depth > maxBucketDepth {
		return fmt.Errorf("%w: page %d has a bucket of %d bytes at depth %d", ErrCorrupt, id, len(value), depth)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return c.tree(root, nil, nil, depth)
	}
	page := value[bucketBytes:]
	if len(page) < pageHeaderBytes || binary.NativeEndian.Uint64(page) != 0 || binary.NativeEndian.Uint16(page[8:]) != leafPage {
		return fmt.Errorf("%w: page %d has a bucket in place that is no leaf", ErrCorrupt, id)
	}
	return c.leaf(id, page, int(binary.NativeEndian.Uint16(page[10:])), nil, nil, depth)
}

// cut returns n bytes of a page, at pos from the element at base.
func cut(page []byte, base int, pos, n uint32) ([]byte, error) {
	from := uint64(base) + uint64(pos)
	if from+uint64(n) > uint64(len(page)) {
		return nil, fmt.Errorf("%w: an element lies outside of its page", ErrCorrupt)
	}
	return page[from : from+uint64(n)], nil
}
