package xen_test

import (
	"errors"
	"testing"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/xentest"
)

func TestPages(t *testing.T) {
	p := xentest.New(t, 4).Pages
	var refs []xen.Ref
	for {
		page, ref, err := p.Take()
		if errors.Is(err, xen.ErrNoPage) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range page.Bytes() {
			if b != 0 {
				t.Fatalf("byte %d of a fresh page is %#x", i, b)
			}
		}
		page.Store32(4092, 0xdeadbeef)
		page.Set32(0, 0xdeadbeef)
		refs = append(refs, ref)
	}
	for i, r := range refs {
		if r != refs[0]+xen.Ref(i) {
			t.Errorf("page %d has reference %d, the first %d", i, r, refs[0])
		}
	}
	// What a former user left is not there for the next one (XSA-403).
	p.Give(refs[1])
	page, ref, err := p.Take()
	if err != nil || ref != refs[1] || page.Load32(0) != 0 || page.Load32(4092) != 0 {
		t.Errorf("page %d again: %d, %v, %#x", refs[1], ref, err, page.Load32(0))
	}
	p.Give(ref)
	panics(t, "given twice", func() { p.Give(ref) })
	panics(t, "not a ring page", func() { p.Give(p.IORef(0)) })
	if p.IORef(3*4096+4095) != p.IORef(0)+3 || p.IOPages() != 4 {
		t.Error("references of I/O pages")
	}
	panics(t, "outside the I/O region", func() { p.IORef(4 * 4096) })
}

func TestNewPages(t *testing.T) {
	for name, c := range map[string]struct {
		rings    []byte
		ring, io xen.Ref
		n        int
	}{
		"not whole pages":  {make([]byte, 100), 8, 16, 1},
		"negative":         {nil, 8, 16, -1},
		"more than I/O is": {nil, 8, 16, 1<<20 + 1},
		"end of the space": {nil, 8, 0xffffffff, 2},
	} {
		if _, err := xen.NewPages(c.rings, c.ring, c.io, c.n); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestPageAccess: an access at any offset stays within the page.
func TestPageAccess(t *testing.T) {
	line, err := xentest.New(t, 0).Store.Line()
	if err != nil {
		t.Fatal(err)
	}
	p := line.Page
	for _, off := range []uint32{0, 1, 4092, 4095, 4096, 8191, 1 << 31, 0xffffffff} {
		p.Store32(off, off+1)
		if v := p.Load32(off & 4095 &^ 3); v != off+1 {
			t.Errorf("word at %#x is %#x", off, v)
		}
		p.Set64(off, uint64(off)<<20+7)
		if v := p.Load64(off & 4095 &^ 7); v != uint64(off)<<20+7 {
			t.Errorf("long at %#x is %#x", off, v)
		}
		if *p.Word(off) != p.Load32(off) || *p.Half(off) != uint16(p.Load32(off)) {
			t.Errorf("pointers at %#x", off)
		}
	}
	panics(t, "half a page", func() { xen.PageOf(p.Bytes()[:2048]) })
	panics(t, "not aligned", func() { xen.PageOf(append(make([]byte, 1, 8200), p.Bytes()...)[1:4097]) })
	if (xen.Page{}).Valid() || !p.Valid() {
		t.Error("Valid")
	}
}

func panics(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}
